/* The driver API of a machine with one RTX 3090. FAKE_CUDA_INIT=N makes cuInit fail with code N.
   Built by `.ci/windows-fakes.sh`. */
#include <stdlib.h>
#include <string.h>

#define EXPORT __declspec(dllexport)

enum { SUCCESS = 0, INVALID_VALUE = 1, INVALID_DEVICE = 101 };
/* CUdevice_attribute: the capability's two halves. */
enum { CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76 };

EXPORT int cuInit(unsigned flags)
{
    const char *failure = getenv("FAKE_CUDA_INIT");
    return failure ? atoi(failure) : SUCCESS;
}
EXPORT int cuDriverGetVersion(int *version) { *version = 13000; return SUCCESS; }
EXPORT int cuDeviceGetCount(int *count) { *count = 1; return SUCCESS; }
EXPORT int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal == 0 ? SUCCESS : INVALID_DEVICE; }
EXPORT int cuDeviceGetName(char *name, int size, int device)
{
    strncpy(name, "NVIDIA GeForce RTX 3090", size);
    return SUCCESS;
}
EXPORT int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    *value = attribute == CAPABILITY_MAJOR ? 8 : attribute == CAPABILITY_MINOR ? 6 : 0;
    return SUCCESS;
}
EXPORT int cuDeviceComputeCapability(int *major, int *minor, int device)
{
    *major = 8;
    *minor = 6;
    return SUCCESS;
}
EXPORT int cuDeviceTotalMem_v2(size_t *bytes, int device)
{
    *bytes = (size_t)24576 * 1024 * 1024;
    return SUCCESS;
}
EXPORT int cuDeviceGetPCIBusId(char *text, int size, int device)
{
    strncpy(text, "0000:01:00.0", size);
    return SUCCESS;
}
EXPORT int cuDeviceGetUuid_v2(void *uuid, int device)
{
    memset(uuid, 0, 16);
    ((char *)uuid)[15] = 1;
    return SUCCESS;
}
EXPORT int cuGetErrorName(int error, const char **name)
{
    *name = "CUDA_ERROR_MADE_TO_FAIL";
    return SUCCESS;
}
EXPORT int cuGetErrorString(int error, const char **text)
{
    *text = "made to fail";
    return SUCCESS;
}
