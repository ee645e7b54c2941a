//! The version of ggml's interface to backends, read from the code of a backend's registration without running it.
//!
//! `ggml_backend_X_reg` returns the address of a `ggml_backend_reg`, which begins with `int api_version`
//! (`ggml/src/ggml-backend-impl.h`). Where that is constant data it is read there; where the function fills it in, the
//! instruction that does so carries the number. Seen in GCC's code of b10434 to b11434 and in clang's for Windows.

use super::Machine;

/// The code of the longest such function that was seen is 5.8 KB.
pub(super) const CODE_BYTES: u64 = 6144;
/// Versions 1 to 3 exist; a larger number is something else.
const HIGHEST: u32 = 64;

/// `ggml_backend_cuda_reg`
pub(super) fn is_registration(export: &str) -> bool {
    let name = export.strip_prefix("ggml_backend_").and_then(|rest| rest.strip_suffix("_reg"));
    name.is_some_and(|name| !name.is_empty() && !name.contains('_'))
}

/// The version, from the function's code at `address`; `number_at` reads 32 bits of the file at an address.
pub(super) fn version(
    code: &[u8],
    address: u64,
    machine: Machine,
    number_at: impl Fn(u64) -> Option<u32>,
) -> Option<u32> {
    if machine != Machine::X86_64 {
        return None;
    }
    let is_version = |number: &u32| (1..=HIGHEST).contains(number);
    if let Some(registration) = returned(code, address) {
        return number_at(registration).filter(is_version);
    }
    // `mov dword [rip + offset], number` into what the function also takes the address of.
    let addresses: Vec<u64> = (0..code.len()).filter_map(|at| loaded_address(code, at, address)).collect();
    (0..code.len()).find_map(|at| {
        let rest = code.get(at..at + 10)?.strip_prefix(&[0xc7, 0x05])?;
        let target = relative(address, at + 10, &rest[..4])?;
        let number = u32::from_le_bytes(rest[4..].try_into().ok()?);
        (is_version(&number) && addresses.contains(&target)).then_some(number)
    })
}

/// The address that a short function loads into `rax` right before it returns.
fn returned(code: &[u8], address: u64) -> Option<u64> {
    const SHORT: usize = 64;
    let code = &code[..code.len().min(SHORT)];
    let at = (0..code.len()).find(|at| code[*at..].starts_with(&[0x48, 0x8d, 0x05]))?;
    // What may stand between: `add rsp, n`, `pop rbx`, `pop rbp`.
    let mut rest = code.get(at + 7..)?;
    loop {
        rest = match rest {
            [0xc3, ..] => return relative(address, at + 7, code.get(at + 3..at + 7)?),
            [0x48, 0x83, 0xc4, _, rest @ ..] | [0x5b | 0x5d, rest @ ..] => rest,
            _ => return None,
        };
    }
}

/// `lea register, [rip + offset]`
fn loaded_address(code: &[u8], at: usize, address: u64) -> Option<u64> {
    let bytes = code.get(at..at + 7)?;
    let is_load = matches!(bytes[0], 0x48 | 0x4c) && bytes[1] == 0x8d && bytes[2] & 0xc7 == 0x05;
    is_load.then(|| relative(address, at + 7, &bytes[3..])).flatten()
}

fn relative(address: u64, next: usize, offset: &[u8]) -> Option<u64> {
    let offset = i32::from_le_bytes(offset.try_into().ok()?);
    address.checked_add(next as u64)?.checked_add_signed(offset.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(code: &[u8], data: &[(u64, u32)]) -> Option<u32> {
        let number_at = |at| data.iter().find(|(known, _)| *known == at).map(|(_, number)| *number);
        version(code, 0x1000, Machine::X86_64, number_at)
    }

    #[test]
    fn constant_registrations_are_read() {
        // endbr64; sub rsp, 8; call …; lea rax, [rip + 0x100]; add rsp, 8; ret
        let code = b"\xf3\x0f\x1e\xfa\x48\x83\xec\x08\xe8\0\0\0\0\x48\x8d\x05\x00\x01\0\0\x48\x83\xc4\x08\xc3";
        assert_eq!(read(code, &[(0x1114, 2)]), Some(2));
        assert_eq!(read(code, &[(0x1114, 0x464c_457f)]), None);
        assert_eq!(read(code, &[]), None);
    }

    #[test]
    fn filled_registrations_are_read() {
        // lea r12, [rip + 0x100] is 0x1107; mov dword [rip + …], 3 into 0x1107
        let code = [b"\x4c\x8d\x25\x00\x01\0\0".as_slice(), &[0x90; 9], b"\xc7\x05\xed\0\0\0\x03\0\0\0"].concat();
        assert_eq!(read(&code, &[]), Some(3));
        // Into something else: the guard of another variable.
        let other = [b"\x4c\x8d\x25\x00\x02\0\0".as_slice(), &[0x90; 9], b"\xc7\x05\xed\0\0\0\x03\0\0\0"].concat();
        assert_eq!(read(&other, &[]), None);
        for cut in 0..code.len() {
            assert_eq!(read(&code[..cut], &[]), None);
        }
    }

    #[test]
    fn registrations_are_known_by_name() {
        assert!(is_registration("ggml_backend_cuda_reg"));
        assert!(!is_registration("ggml_backend_dev_backend_reg"));
        assert!(!is_registration("ggml_backend_reg"));
    }
}
