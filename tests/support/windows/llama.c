/* Stands for llama.dll: says of itself with which error mode it was loaded. Built by `.ci/windows-fakes.sh`. */
#include <windows.h>
#include <stdio.h>

__declspec(dllexport) const char *llama_print_system_info(void)
{
    static char text[64];
    snprintf(text, sizeof text, "ERROR_MODE = %u", GetErrorMode());
    return text;
}
