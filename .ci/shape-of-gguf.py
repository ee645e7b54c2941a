#!/usr/bin/env python3
"""shape-of-gguf.py NAME FILE...: the row of manifests/shapes.toml for one model, from the headers of its quantizations.

The files are named MODEL-QUANTIZATION.gguf and differ in nothing but the types of their tensors."""
import re
import struct
import sys

# ggml's types by id (llama.cpp b11434 ggml/include/ggml.h:389).
NAMES=dict(enumerate("F32 F16 Q4_0 Q4_1 - - Q5_0 Q5_1 Q8_0 Q8_1 Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K IQ2_XXS IQ2_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ2_S IQ4_XS I8 I16 I32 I64 F64 IQ1_M BF16 - - - TQ1_0 TQ2_0 - - - MXFP4 NVFP4".split()))
SZ={0:('B',1),1:('b',1),2:('H',2),3:('h',2),4:('I',4),5:('i',4),6:('f',4),7:('?',1),10:('Q',8),11:('q',8),12:('d',8)}
def read(path):
    f=open(path,'rb'); d=f.read(16<<20); p=24
    n_t,n_kv=struct.unpack_from('<QQ',d,8)
    def s():
        nonlocal p
        n,=struct.unpack_from('<Q',d,p); p+=8; v=d[p:p+n]; p+=n; return v.decode('utf8','replace')
    def scal(t):
        nonlocal p
        c,z=SZ[t]; v,=struct.unpack_from('<'+c,d,p); p+=z; return v
    kv={}
    for _ in range(n_kv):
        k=s(); t,=struct.unpack_from('<I',d,p); p+=4
        if t==8: kv[k]=s()
        elif t==9:
            et,n=struct.unpack_from('<IQ',d,p); p+=12
            if et==8:
                for _ in range(n): p+=8+struct.unpack_from('<Q',d,p)[0]
                kv[k]=None
            elif n>4096: p+=n*SZ[et][1]; kv[k]=None
            else: kv[k]=[scal(et) for _ in range(n)]
        else: kv[k]=scal(t)
    ts=[]
    for _ in range(n_t):
        n=s(); nd,=struct.unpack_from('<I',d,p); p+=4
        ds=struct.unpack_from(f'<{nd}Q',d,p); p+=8*nd
        t,_o=struct.unpack_from('<IQ',d,p); p+=12
        ts.append((n,ds,NAMES[t]))
    return kv,ts


# Keys that no size depends on.
SKIP = re.compile(r'epsilon$|freq_base|scaling\.(factor|type|orig|yarn|finetuned)|logit_scale|embedding_scale|residual_scale|attention\.scale$|softcapping|expert_weights|gating_func|rope\.scaling')
def ranges(numbers):
    out=[]; numbers=sorted(numbers)
    i=0
    while i<len(numbers):
        j=i
        while j+1<len(numbers) and numbers[j+1]==numbers[j]+1: j+=1
        out.append(str(numbers[i]) if i==j else f'{numbers[i]}-{numbers[j]}'); i=j+1
    return ','.join(out)
def load(path):
    kv,ts=read(path); arch=kv['general.architecture']
    meta={k[len(arch)+1:]:v for k,v in kv.items() if k.startswith(arch+'.') and not SKIP.search(k) and v is not None}
    return arch,meta,kv['general.file_type'],ts
def tname(t):
    m=re.fullmatch(r'(I?Q\d)_(K|XXS|XS|S|M|NL)',t)
    return {'Q2_K':'q2_K','Q3_K':'q3_K','Q4_K':'q4_K','Q5_K':'q5_K','Q6_K':'q6_K'}.get(t,t.lower())
def value(v):
    if isinstance(v,bool): return 'true' if v else 'false'
    if isinstance(v,str): return f'"{v}"'
    if isinstance(v,list): return '['+', '.join(map(value,v))+']'
    return str(v)
def emit(name,files):
    loaded=[load(f) for f in files]
    arch,meta,_,base=loaded[0]
    for l in loaded: assert [(a,b) for a,b,_ in l[3]]==[(a,b) for a,b,_ in base], name
    fixed={n for i,(n,_,_) in enumerate(base) if all(l[3][i][2]=='F32' for l in loaded)}
    n_layer=meta['block_count']
    out=['[[shape]]',f'name = "{name}"',f'architecture = "{arch}"']
    out.append('metadata = { '+', '.join(f'{("%s"%k) if re.fullmatch(r"[A-Za-z0-9_-]+",k) else chr(34)+k+chr(34)} = {value(v)}' for k,v in meta.items())+' }')
    out.append('tensors = [')
    groups={}; singles=[]
    for n,s,_ in base:
        dims='x'.join(map(str,s))+(' f32' if n in fixed else '')
        m=re.fullmatch(r'blk\.(\d+)\.(.*)',n)
        if m: groups.setdefault((m[2],dims),[]).append(int(m[1]))
        else: singles.append(f'{n} {dims}')
    # expanded order must be the file's
    lines=sorted(groups,key=lambda g:(g[0],min(groups[g])))
    order=singles and [s.split(' ')[0] for s in singles]
    for il in range(n_layer):
        for g in lines:
            if il in groups[g]: order.append(f'blk.{il}.{g[0]}')
    assert order==[n for n,_,_ in base], (name,[ (a,b[0]) for a,b in zip(order,base) if a!=b[0]][:3])
    for s in singles: out.append(f'  "{s}",')
    for g in lines: out.append(f'  "blk.{ranges(groups[g])}.{g[0]} {g[1]}",')
    out.append(']')
    for (arch,meta,ft,tensors),f in zip(loaded,files):
        q=re.search(r'-([^-]+)\.gguf$',f)[1]
        free=[(n,t) for n,_,t in tensors if n not in fixed]
        count={}
        for _,t in free: count[t]=count.get(t,0)+1
        main=max(count,key=count.get)
        ex=[tname(main)]; grp={}
        for n,t in free:
            if t==main: continue
            m=re.fullmatch(r'blk\.(\d+)\.(.*)',n)
            if m: grp.setdefault((m[2],t),[]).append(int(m[1]))
            else: ex.append(f'{n} {tname(t)}')
        for (s,t),ls in grp.items(): ex.append(f'blk.{ranges(ls)}.{s} {tname(t)}')
        out.append('[[shape.quantization]]'); out.append(f'name = "{q}"'); out.append(f'file_type = {ft}')
        out.append('types = ['+', '.join(f'"{e}"' for e in ex)+']')
    return '\n'.join(out)+'\n'
if __name__ == '__main__':
    print(emit(sys.argv[1], sys.argv[2:]))
