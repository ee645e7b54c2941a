/* A simulated CUDA machine of one card: one source for the four libraries that a CUDA backend and this program load,
 * chosen with -DNVML, -DDRIVER, -DRUNTIME or -DBLAS. Nothing is computed; what is asked is answered.
 *   FAKE_CARD    name:MiB in all:MiB free:compute capability   NVIDIA GeForce RTX 3090:24576:24000:8.6
 *   FAKE_DRIVER  580.95.05      FAKE_CUDA  13000      FAKE_NVML  what nvmlInit returns
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long u64;

static const char *setting(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

struct card {
    char name[96];
    u64 total, free;
    int major, minor;
};

static struct card card(void) {
    struct card it = {"NVIDIA GeForce RTX 3090", 24576, 24000, 8, 6};
    sscanf(setting("FAKE_CARD", ""), "%95[^:]:%llu:%llu:%d.%d", it.name, &it.total, &it.free, &it.major, &it.minor);
    it.total <<= 20;
    it.free <<= 20;
    return it;
}

static int cuda_version(void) { return atoi(setting("FAKE_CUDA", "13000")); }

#ifdef NVML
int nvmlInit_v2(void) { return atoi(setting("FAKE_NVML", "0")); }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return "fake"; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    snprintf(text, size, "%s", setting("FAKE_DRIVER", "580.95.05"));
    return 0;
}
int nvmlSystemGetCudaDriverVersion_v2(int *version) { return *version = cuda_version(), 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { return *count = 1, 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { return *device = (void *)1, 0; }
int nvmlDeviceGetName(void *device, char *text, unsigned size) {
    snprintf(text, size, "%s", card().name);
    return 0;
}
int nvmlDeviceGetMemoryInfo_v2(void *device, struct { unsigned version; u64 total, reserved, free, used; } *memory) {
    struct card it = card();
    memory->total = it.total, memory->reserved = 0, memory->free = it.free, memory->used = it.total - it.free;
    return 0;
}
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    *major = card().major, *minor = card().minor;
    return 0;
}
#endif

#ifdef DRIVER
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { return *version = cuda_version(), 0; }
int cuDeviceGetCount(int *count) { return *count = 1, 0; }
int cuDeviceGet(int *device, int index) { return *device = index, 0; }
int cuDeviceGetName(char *text, int size, int device) {
    snprintf(text, size, "%s", card().name);
    return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { return *bytes = card().total, 0; }
/* 75 and 76 are the two parts of the compute capability (cuda.h, CUdevice_attribute). */
int cuDeviceGetAttribute(int *value, int which, int device) {
    *value = which == 75 ? card().major : which == 76 ? card().minor : 0;
    return 0;
}
int cuGetErrorString(int code, const char **text) { return *text = "fake", 0; }
int cuMemAddressFree(void) { return 0; }
int cuMemAddressReserve(void) { return 0; }
int cuMemCreate(void) { return 0; }
int cuMemGetAllocationGranularity(size_t *bytes) { return *bytes = 2 << 20, 0; }
int cuMemMap(void) { return 0; }
int cuMemRelease(void) { return 0; }
int cuMemSetAccess(void) { return 0; }
int cuMemUnmap(void) { return 0; }
#endif

#ifdef RUNTIME
/* 35 is what the real one says to a driver that is too old. */
int cudaGetDeviceCount(int *count) { return *count = 1, cuda_version() < 13000 ? 35 : 0; }
int cudaGetDevice(int *device) { return *device = 0, 0; }
/* Offsets of CUDA 13's struct cudaDeviceProp (driver_types.h). */
int cudaGetDeviceProperties(char *it, int device) {
    struct card own = card();
    int warp = 32, processors = 82;
    size_t shared = 101376;
    memset(it, 0, 1008);
    strcpy(it, own.name);
    memcpy(it + 288, &own.total, 8);
    memcpy(it + 308, &warp, 4);
    memcpy(it + 360, &own.major, 4);
    memcpy(it + 364, &own.minor, 4);
    memcpy(it + 384, &processors, 4);
    memcpy(it + 624, &shared, 8);
    memcpy(it + 672, &shared, 8);
    return 0;
}
int cudaMemGetInfo(size_t *free, size_t *total) { return *free = card().free, *total = card().total, 0; }
int cudaDeviceGetAttribute(int *value) { return *value = 0, 0; }
int cudaDeviceCanAccessPeer(int *value) { return *value = 0, 0; }
int cudaDeviceGetPCIBusId(char *text, int size) {
    snprintf(text, size, "0000:01:00.0");
    return 0;
}
const char *cudaGetErrorString(int code) {
    return code == 35 ? "CUDA driver version is insufficient for CUDA runtime version" : "fake";
}
void **__cudaRegisterFatBinary(void *binary) {
    static void *handle;
    return &handle;
}
#define NOTHING(name) int name(void) { return 0; }
NOTHING(__cudaGetKernel) NOTHING(__cudaLaunchKernel) NOTHING(__cudaPopCallConfiguration)
NOTHING(__cudaPushCallConfiguration) NOTHING(__cudaRegisterFatBinaryEnd) NOTHING(__cudaRegisterFunction)
NOTHING(__cudaRegisterVar) NOTHING(__cudaUnregisterFatBinary) NOTHING(cudaDeviceEnablePeerAccess)
NOTHING(cudaDeviceSynchronize) NOTHING(cudaEventCreateWithFlags) NOTHING(cudaEventDestroy) NOTHING(cudaEventRecord)
NOTHING(cudaEventSynchronize) NOTHING(cudaFree) NOTHING(cudaFreeHost) NOTHING(cudaFuncGetAttributes)
NOTHING(cudaFuncSetAttribute) NOTHING(cudaGetLastError) NOTHING(cudaGraphDestroy) NOTHING(cudaGraphExecDestroy)
NOTHING(cudaGraphExecUpdate) NOTHING(cudaGraphInstantiate) NOTHING(cudaGraphLaunch) NOTHING(cudaHostAlloc)
NOTHING(cudaHostGetDevicePointer) NOTHING(cudaHostRegister) NOTHING(cudaHostUnregister)
NOTHING(cudaLaunchCooperativeKernel) NOTHING(cudaLaunchKernelExC) NOTHING(cudaMalloc) NOTHING(cudaMallocHost)
NOTHING(cudaMallocManaged) NOTHING(cudaMemcpy2DAsync) NOTHING(cudaMemcpyAsync) NOTHING(cudaMemcpyPeerAsync)
NOTHING(cudaMemset) NOTHING(cudaMemsetAsync) NOTHING(cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags)
NOTHING(cudaPeekAtLastError) NOTHING(cudaSetDevice) NOTHING(cudaSetDeviceFlags) NOTHING(cudaStreamBeginCapture)
NOTHING(cudaStreamCreateWithFlags) NOTHING(cudaStreamDestroy) NOTHING(cudaStreamEndCapture)
NOTHING(cudaStreamIsCapturing) NOTHING(cudaStreamSynchronize) NOTHING(cudaStreamWaitEvent)
#endif

#ifdef BLAS
#define NOTHING(name) int name(void) { return 0; }
NOTHING(cublasCreate_v2) NOTHING(cublasDestroy_v2) NOTHING(cublasGemmBatchedEx) NOTHING(cublasGemmEx)
NOTHING(cublasGemmStridedBatchedEx) NOTHING(cublasGetStatusString) NOTHING(cublasSetMathMode)
NOTHING(cublasSetStream_v2) NOTHING(cublasSetWorkspace_v2) NOTHING(cublasSgemmBatched)
NOTHING(cublasSgemmStridedBatched) NOTHING(cublasSgemm_v2) NOTHING(cublasStrsmBatched)
#endif
