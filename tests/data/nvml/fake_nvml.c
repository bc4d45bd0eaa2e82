/* A stand-in for NVIDIA's management library: what its Python binding asks for, and nothing else.
 *
 * FAKE_NVML_FILE names a file that says what there is. It is read at every call, so that a test can change it while a
 * program runs. Each line is a word and its fields; an underscore in a value stands for a space.
 *
 *   driver=550.54.15 | cuda=12040
 *   device uuid=GPU-a name=Fake_H100 total=85899345920 used=1073741824 busy=50 temp=60 mw=250000 ecc=0 slow=0 mig=0
 *   instance of=GPU-a uuid=MIG-b name=Fake_H100_MIG_1g.10gb total=10737418240 used=0
 *   process of=GPU-a pid=4711 used=1048576 kind=compute
 *   fail call=memory of=GPU-a code=15        the call answers with an error; `of` left out: for every device
 *   hang call=memory of=GPU-a                the call never answers
 *
 * Calls: init, shutdown, count, driver, cuda, handle, uuid, name, memory, memory-v2, busy, temp, power, ecc, slow, mig,
 * instances, compute, graphics.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long long u64;
typedef struct { u64 total, free, used; } memory_t;
typedef struct { unsigned version; u64 total, reserved, free, used; } memory_v2_t;
typedef struct { unsigned gpu, memory; } busy_t;
typedef struct { unsigned pid; u64 used; unsigned gi, ci; } process_t;

enum { LINES = 512, WIDTH = 512 };
enum { NO_PERMISSION = 4, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, UNKNOWN = 999 };

static char lines[LINES][WIDTH];
static int count;

static void load(void) {
    const char *path = getenv("FAKE_NVML_FILE");
    FILE *file = path ? fopen(path, "rb") : NULL;
    count = 0;
    while (file && count < LINES && fgets(lines[count], WIDTH, file)) {
        lines[count][strcspn(lines[count], "\n")] = 0;
        count++;
    }
    if (file)
        fclose(file);
}

/* Copies the value of a field; returns whether there is one. */
static int field(const char *line, const char *name, char *value, size_t size) {
    size_t length = strlen(name);
    for (const char *at = line; (at = strstr(at, name)); at += length)
        if (at[length] == '=' && (at == line || at[-1] == ' ')) {
            at += length + 1;
            size_t end = strcspn(at, " ");
            if (end >= size)
                end = size - 1;
            memcpy(value, at, end);
            value[end] = 0;
            for (char *c = value; *c; c++)
                if (*c == '_')
                    *c = ' ';
            return 1;
        }
    return 0;
}

static u64 number(const char *line, const char *name, u64 otherwise) {
    char value[64];
    return line && field(line, name, value, sizeof value) ? strtoull(value, NULL, 10) : otherwise;
}

static int is(const char *line, const char *word) {
    size_t length = strlen(word);
    return strncmp(line, word, length) == 0 && (line[length] == ' ' || line[length] == '=');
}

static int has(const char *line, const char *name, const char *wanted) {
    char value[WIDTH];
    return field(line, name, value, sizeof value) && strcmp(value, wanted) == 0;
}

static const char *nth(const char *word, unsigned index, const char *of) {
    for (int i = 0; i < count; i++)
        if (is(lines[i], word) && (!of || has(lines[i], "of", of)) && index-- == 0)
            return lines[i];
    return NULL;
}

/* What a call answers, as the file says; it may never come back. */
static int answer(const char *call, const char *uuid) {
    load();
    for (int i = 0; i < count; i++) {
        char value[WIDTH];
        int fails = is(lines[i], "fail");
        if (!fails && !is(lines[i], "hang"))
            continue;
        if (!has(lines[i], "call", call))
            continue;
        if (field(lines[i], "of", value, sizeof value) && (!uuid || strcmp(value, uuid) != 0))
            continue;
        while (!fails)
            pause();
        return (int)number(lines[i], "code", UNKNOWN);
    }
    return 0;
}

/* Handles are any pointers but NULL: the number of the device and one, or that of the instance and 1001. */
static const char *line_of(void *handle) {
    load();
    long index = (long)handle - 1;
    return index < 1000 ? nth("device", (unsigned)index, NULL) : nth("instance", (unsigned)(index - 1000), NULL);
}

static int begin(const char *call, void *handle, const char **line, char *uuid) {
    *line = line_of(handle);
    if (!*line)
        return 15; /* the device is lost */
    field(*line, "uuid", uuid, WIDTH);
    int code = answer(call, uuid);
    *line = line_of(handle);
    return *line ? code : 15;
}

#define BEGIN(call)                                                                                                    \
    const char *line;                                                                                                  \
    char uuid[WIDTH] = "";                                                                                             \
    int code = begin(call, handle, &line, uuid);                                                                       \
    if (code)                                                                                                          \
        return code;

int nvmlInitWithFlags(unsigned flags) { (void)flags; return answer("init", NULL); }
int nvmlInit_v2(void) { return answer("init", NULL); }
int nvmlShutdown(void) { return answer("shutdown", NULL); }
const char *nvmlErrorString(int code) { return code == 15 ? "GPU is lost" : "as the test asked"; }

static int text(const char *name, const char *call, char *value, unsigned size, const char *otherwise) {
    int code = answer(call, NULL);
    snprintf(value, size, "%s", otherwise);
    for (int i = 0; i < count; i++)
        field(lines[i], name, value, size);
    return code;
}

int nvmlSystemGetDriverVersion(char *version, unsigned size) {
    return text("driver", "driver", version, size, "550.54.15");
}

int nvmlSystemGetCudaDriverVersion(int *version) {
    char value[64];
    int code = text("cuda", "cuda", value, sizeof value, "12040");
    *version = atoi(value);
    return code;
}

int nvmlDeviceGetCount_v2(unsigned *found) {
    int code = answer("count", NULL);
    for (*found = 0; nth("device", *found, NULL);)
        (*found)++;
    return code;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    *handle = (void *)(long)(index + 1);
    const char *line;
    char uuid[WIDTH] = "";
    return begin("handle", *handle, &line, uuid);
}

int nvmlDeviceGetUUID(void *handle, char *value, unsigned size) {
    BEGIN("uuid")
    field(line, "uuid", value, size);
    return 0;
}

int nvmlDeviceGetName(void *handle, char *value, unsigned size) {
    BEGIN("name")
    if (!field(line, "name", value, size))
        snprintf(value, size, "Fake");
    return 0;
}

int nvmlDeviceGetMemoryInfo(void *handle, memory_t *memory) {
    BEGIN("memory")
    if (number(line, "unified", 0))
        return NOT_SUPPORTED;
    memory->total = number(line, "total", 80ull << 30);
    memory->used = number(line, "used", 0) + (512ull << 20); /* the first version counts what the driver keeps */
    memory->free = memory->total - memory->used;
    return 0;
}

int nvmlDeviceGetMemoryInfo_v2(void *handle, memory_v2_t *memory) {
    BEGIN("memory")
    code = answer("memory-v2", uuid);
    if (code || number(line, "unified", 0))
        return code ? code : NOT_SUPPORTED;
    memory->total = number(line, "total", 80ull << 30);
    memory->reserved = 512ull << 20;
    memory->used = number(line, "used", 0);
    memory->free = memory->total - memory->used - memory->reserved;
    return 0;
}

int nvmlDeviceGetUtilizationRates(void *handle, busy_t *busy) {
    BEGIN("busy")
    busy->gpu = (unsigned)number(line, "busy", 0);
    busy->memory = 0;
    return 0;
}

int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *degrees) {
    (void)sensor;
    BEGIN("temp")
    *degrees = (unsigned)number(line, "temp", 40);
    return 0;
}

int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) {
    BEGIN("power")
    *milliwatts = (unsigned)number(line, "mw", 50000);
    return 0;
}

int nvmlDeviceGetTotalEccErrors(void *handle, int type, int counter, u64 *found) {
    (void)type, (void)counter;
    BEGIN("ecc")
    *found = number(line, "ecc", 0);
    return 0;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle, u64 *reasons) {
    BEGIN("slow")
    *reasons = number(line, "slow", 0);
    return 0;
}

int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending) {
    BEGIN("mig")
    *current = *pending = (unsigned)number(line, "mig", 0);
    return 0;
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *found) {
    BEGIN("instances")
    *found = 7;
    return 0;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **instance) {
    BEGIN("instances")
    const char *wanted = nth("instance", index, uuid);
    if (!wanted)
        return NOT_FOUND;
    unsigned position = 0;
    while (nth("instance", position, NULL) != wanted)
        position++;
    *instance = (void *)(long)(position + 1001);
    return 0;
}

static int processes(void *handle, const char *call, unsigned *size, process_t *found) {
    BEGIN(call)
    unsigned n = 0, room = *size;
    for (int i = 0; i < count; i++) {
        if (!is(lines[i], "process") || !has(lines[i], "of", uuid))
            continue;
        char kind[32] = "compute";
        field(lines[i], "kind", kind, sizeof kind);
        if (strcmp(kind, call) != 0 && strcmp(kind, "both") != 0)
            continue;
        if (found && n < room) {
            found[n].pid = (unsigned)number(lines[i], "pid", 0);
            found[n].used = number(lines[i], "used", ~0ull); /* all ones: not available */
            found[n].gi = found[n].ci = ~0u;
        }
        n++;
    }
    *size = n;
    return n > room ? TOO_SMALL : 0;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *size, process_t *found) {
    return processes(handle, "compute", size, found);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned *size, process_t *found) {
    return processes(handle, "graphics", size, found);
}
