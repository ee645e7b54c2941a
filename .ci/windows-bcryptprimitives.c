/* Wine 8.0 lacks bcryptprimitives.dll, from which every program of Rust 1.78 or newer imports ProcessPrng: without it
   the program ends with code 53 and no word. This one hands the work to advapi32's RtlGenRandom. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length); /* advapi32's export name of RtlGenRandom */

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length)
{
    const SIZE_T largest_step = 0x40000000;
    while (length > 0) {
        ULONG step = (ULONG)(length < largest_step ? length : largest_step);
        if (!SystemFunction036(buffer, step))
            return FALSE;
        buffer += step;
        length -= step;
    }
    return TRUE;
}
