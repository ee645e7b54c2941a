/* The least of a CUDA runtime: it loads, and says its version. Built by `.ci/windows-fakes.sh`. */
#define EXPORT __declspec(dllexport)

EXPORT int cudaRuntimeGetVersion(int *version) { *version = 13000; return 0; }
EXPORT int cudaGetDeviceCount(int *count) { *count = 1; return 0; }
