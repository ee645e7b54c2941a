/* A machine with one RTX 3090, as NVML tells it: what llama-doctor asks, and nothing else.
   FAKE_NVML_INIT=N makes the first call fail with code N. Built by `.ci/windows-fakes.sh`. */
#include <stdlib.h>
#include <string.h>

#define EXPORT __declspec(dllexport)

typedef int code;
typedef struct card *device;
struct memory { unsigned long long total, free, used; };
struct memory_v2 { unsigned version; unsigned long long total, reserved, free, used; };
struct pci { char old_bus_id[16]; unsigned domain, bus, device, device_id, subsystem_id; char bus_id[32]; };

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7 };

static const unsigned long long MIB = 1024 * 1024;
static char the_card;

static code text(const char *value, char *into, unsigned size)
{
    if (strlen(value) >= size)
        return INSUFFICIENT_SIZE;
    strcpy(into, value);
    return SUCCESS;
}

EXPORT code nvmlInit_v2(void)
{
    const char *failure = getenv("FAKE_NVML_INIT");
    return failure ? atoi(failure) : SUCCESS;
}
EXPORT code nvmlShutdown(void) { return SUCCESS; }
EXPORT const char *nvmlErrorString(code value) { return value == SUCCESS ? "Success" : "made to fail"; }
EXPORT code nvmlSystemGetDriverVersion(char *into, unsigned size) { return text("581.42", into, size); }
EXPORT code nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 13000; return SUCCESS; }
EXPORT code nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return SUCCESS; }
EXPORT code nvmlDeviceGetHandleByIndex_v2(unsigned index, device *handle)
{
    *handle = (device)&the_card;
    return index == 0 ? SUCCESS : INVALID_ARGUMENT;
}
EXPORT code nvmlDeviceGetName(device card, char *into, unsigned size)
{
    return text("NVIDIA GeForce RTX 3090", into, size);
}
EXPORT code nvmlDeviceGetUUID(device card, char *into, unsigned size)
{
    return text("GPU-00000000-0000-0000-0000-000000000001", into, size);
}
EXPORT code nvmlDeviceGetMemoryInfo(device card, struct memory *memory)
{
    memory->total = 24576 * MIB;
    memory->used = 1024 * MIB;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}
EXPORT code nvmlDeviceGetMemoryInfo_v2(device card, struct memory_v2 *memory)
{
    memory->total = 24576 * MIB;
    memory->reserved = 325 * MIB;
    memory->used = 699 * MIB;
    memory->free = memory->total - memory->reserved - memory->used;
    return SUCCESS;
}
EXPORT code nvmlDeviceGetCudaComputeCapability(device card, int *major, int *minor)
{
    *major = 8;
    *minor = 6;
    return SUCCESS;
}
EXPORT code nvmlDeviceGetPciInfo_v3(device card, struct pci *pci)
{
    memset(pci, 0, sizeof *pci);
    pci->bus = 1;
    pci->device_id = 0x220410de;
    strcpy(pci->old_bus_id, "0000:01:00.0");
    strcpy(pci->bus_id, "00000000:01:00.0");
    return SUCCESS;
}
/* WDDM is 0: the model of every GeForce card. */
EXPORT code nvmlDeviceGetDriverModel(device card, int *current, int *pending)
{
    *current = *pending = 0;
    return SUCCESS;
}
EXPORT code nvmlDeviceGetDriverModel_v2(device card, int *current, int *pending)
{
    return nvmlDeviceGetDriverModel(card, current, pending);
}
EXPORT code nvmlDeviceGetMigMode(device card, unsigned *current, unsigned *pending) { return NOT_SUPPORTED; }
EXPORT code nvmlDeviceGetEccMode(device card, unsigned *current, unsigned *pending) { return NOT_SUPPORTED; }
EXPORT code nvmlDeviceGetDisplayActive(device card, unsigned *active) { *active = 1; return SUCCESS; }
