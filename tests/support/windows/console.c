/* Runs a program in a console of its own and tells what a person would have seen there.
     console.exe CODEPAGE SCREEN EVENT PROGRAM ARGUMENT...
   SCREEN is a file: the console's lines, as UTF-8. EVENT is `none`, or `c=FILE` or `break=FILE`: Ctrl-C or Ctrl-Break is
   pressed once FILE exists. The exit code is the program's. Wine has no window here, so the console is a pseudo console,
   which `console.exe --inside ...` fills from within. Built by `.ci/windows-fakes.sh`. */
#define _WIN32_WINNT 0x0A00
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>

enum { COLUMNS = 100, ROWS = 200, FAILED = 250 };

static void fail(const char *what)
{
    fprintf(stderr, "console: %s: error %lu\n", what, GetLastError());
    exit(FAILED);
}

/* What follows `count` words of the command line, as it stands there. */
static wchar_t *after(int count)
{
    wchar_t *at = GetCommandLineW();
    while (count-- > 0) {
        int quoted = 0;
        for (; *at && (quoted || (*at != L' ' && *at != L'\t')); at++)
            if (*at == L'"')
                quoted = !quoted;
        while (*at == L' ' || *at == L'\t')
            at++;
    }
    return at;
}

static BOOL WINAPI ignore(DWORD event)
{
    return TRUE;
}

static int exists(const wchar_t *path)
{
    return GetFileAttributesW(path) != INVALID_FILE_ATTRIBUTES;
}

static void press(const wchar_t *event, HANDLE process, DWORD group)
{
    const wchar_t *file = wcschr(event, L'=');
    if (!file)
        return;
    for (int tries = 0; tries < 600 && !exists(file + 1); tries++)
        if (WaitForSingleObject(process, 100) == WAIT_OBJECT_0)
            return;
    Sleep(500);
    int is_break = event[0] == L'b';
    if (!GenerateConsoleCtrlEvent(is_break ? CTRL_BREAK_EVENT : CTRL_C_EVENT, is_break ? group : 0))
        fail("GenerateConsoleCtrlEvent");
}

static void save(HANDLE console, const wchar_t *path)
{
    FILE *file = _wfopen(path, L"wb");
    if (!file)
        fail("the file of the screen");
    for (SHORT row = 0; row < ROWS; row++) {
        wchar_t line[COLUMNS];
        char utf8[4 * COLUMNS + 1];
        DWORD length = 0;
        COORD at = {0, row};
        if (!ReadConsoleOutputCharacterW(console, line, COLUMNS, at, &length))
            break;
        while (length > 0 && (line[length - 1] == L' ' || line[length - 1] == 0))
            length--;
        int bytes = length ? WideCharToMultiByte(CP_UTF8, 0, line, length, utf8, sizeof utf8, NULL, NULL) : 0;
        fwrite(utf8, 1, bytes, file);
        fputc('\n', file);
    }
    fclose(file);
}

static int inside(wchar_t **arguments)
{
    UINT page = _wtoi(arguments[2]);
    SECURITY_ATTRIBUTES inherited = {sizeof inherited, NULL, TRUE};
    const DWORD access = GENERIC_READ | GENERIC_WRITE, share = FILE_SHARE_READ | FILE_SHARE_WRITE;
    HANDLE console = CreateFileW(L"CONOUT$", access, share, &inherited, OPEN_EXISTING, 0, NULL);
    HANDLE keyboard = CreateFileW(L"CONIN$", access, share, &inherited, OPEN_EXISTING, 0, NULL);
    if (console == INVALID_HANDLE_VALUE || !SetConsoleOutputCP(page) || !SetConsoleCP(page))
        fail("the console");
    SetConsoleCtrlHandler(ignore, TRUE);
    STARTUPINFOW start = {sizeof start};
    start.dwFlags = STARTF_USESTDHANDLES;
    start.hStdInput = keyboard;
    start.hStdOutput = start.hStdError = console;
    PROCESS_INFORMATION process;
    /* Ctrl-Break can be sent to one group; Ctrl-C reaches everyone here, and a group of its own would not hear it. */
    DWORD flags = arguments[4][0] == L'b' ? CREATE_NEW_PROCESS_GROUP : 0;
    if (!CreateProcessW(NULL, after(5), NULL, NULL, TRUE, flags, NULL, NULL, &start, &process))
        fail("the program");
    press(arguments[4], process.hProcess, process.dwProcessId);
    if (WaitForSingleObject(process.hProcess, 120000) != WAIT_OBJECT_0) {
        TerminateProcess(process.hProcess, FAILED - 1);
        WaitForSingleObject(process.hProcess, INFINITE);
    }
    DWORD code = FAILED;
    GetExitCodeProcess(process.hProcess, &code);
    save(console, arguments[3]);
    return code;
}

/* A console that nobody reads would stop the program. */
static DWORD WINAPI drain(void *pipe)
{
    char bytes[4096];
    DWORD length;
    while (ReadFile(pipe, bytes, sizeof bytes, &length, NULL) && length > 0)
        ;
    return 0;
}

int wmain(int count, wchar_t **arguments)
{
    if (count > 5 && wcscmp(arguments[1], L"--inside") == 0)
        return inside(arguments);
    if (count < 5)
        fail("CODEPAGE SCREEN EVENT PROGRAM are needed");
    HRESULT (WINAPI *create)(COORD, HANDLE, HANDLE, DWORD, void **) =
        (void *)GetProcAddress(GetModuleHandleW(L"kernel32"), "CreatePseudoConsole");
    HANDLE in_read, in_write, out_read, out_write;
    COORD size = {COLUMNS, ROWS};
    void *pseudo_console;
    if (!create || !CreatePipe(&in_read, &in_write, NULL, 0) || !CreatePipe(&out_read, &out_write, NULL, 0) ||
        create(size, in_read, out_write, 0, &pseudo_console) != S_OK)
        fail("the pseudo console");
    CreateThread(NULL, 0, drain, out_read, 0, NULL);

    SIZE_T bytes = 0;
    InitializeProcThreadAttributeList(NULL, 1, 0, &bytes);
    STARTUPINFOEXW start = {{sizeof start}};
    /* Without this flag the new process would take our own handles, which are pipes. */
    start.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
    start.lpAttributeList = malloc(bytes);
    const DWORD_PTR pseudo_console_attribute = 0x00020016; /* PROC_THREAD_ATTRIBUTE_PSEUDOCONSOLE */
    if (!InitializeProcThreadAttributeList(start.lpAttributeList, 1, 0, &bytes) ||
        !UpdateProcThreadAttribute(start.lpAttributeList, 0, pseudo_console_attribute, pseudo_console,
            sizeof pseudo_console, NULL, NULL))
        fail("the attributes");
    static wchar_t self[4096], line[32768];
    GetModuleFileNameW(NULL, self, 4096);
    swprintf(line, 32768, L"\"%ls\" --inside %ls", self, after(1));
    PROCESS_INFORMATION process;
    if (!CreateProcessW(NULL, line, NULL, NULL, FALSE, EXTENDED_STARTUPINFO_PRESENT, NULL, NULL, &start.StartupInfo, &process))
        fail("ourselves");
    WaitForSingleObject(process.hProcess, INFINITE);
    DWORD code = FAILED;
    GetExitCodeProcess(process.hProcess, &code);
    return code;
}
