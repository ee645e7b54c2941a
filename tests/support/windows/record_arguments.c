/* Stands for llama-server.exe: writes its arguments, each followed by a zero byte, as UTF-8 to `arguments` in its own
   folder, as the C runtime splits the command line; and its process number and error mode to `process`. With `--hold` as
   the first, or RECORD_AND_STAY in the environment, it runs on for two minutes. Built by `.ci/windows-fakes.sh`. */
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>

static FILE *beside(const wchar_t *name)
{
    wchar_t path[4096];
    GetModuleFileNameW(NULL, path, 4096);
    wcscpy(wcsrchr(path, L'\\') + 1, name);
    return _wfopen(path, L"wb");
}

int wmain(int count, wchar_t **arguments)
{
    FILE *file = beside(L"arguments");
    if (!file)
        return 1;
    for (int index = 1; index < count; index++) {
        char utf8[8192];
        int length = WideCharToMultiByte(CP_UTF8, 0, arguments[index], -1, utf8, sizeof utf8, NULL, NULL);
        /* The zero at the end is counted, and written. */
        fwrite(utf8, 1, length, file);
    }
    fclose(file);
    file = beside(L"process");
    if (!file)
        return 1;
    fprintf(file, "%lu %u\n", GetCurrentProcessId(), GetErrorMode());
    fclose(file);
    /* A server that runs on, for tests that work around one. */
    if (getenv("RECORD_AND_STAY") || (count > 1 && wcscmp(arguments[1], L"--hold") == 0))
        Sleep(120000);
    return 7;
}
