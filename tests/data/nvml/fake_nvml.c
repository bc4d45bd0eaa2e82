/* A stand-in for NVIDIA's management library: what its Python binding asks for, and nothing else.
 *
 * FAKE_NVML_CARDS     how many cards there are
 * FAKE_NVML_FAIL      which call answers with an error: init, shutdown, count, driver, cuda, or a call about a card
 *                     (handle, name, uuid, memory)
 * FAKE_NVML_CODE      the error it answers with; 999 (unknown) if unset
 * FAKE_NVML_FAIL_CARD the card whose calls fail; all of them if unset
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { unsigned long long total, free, used; } memory_t;

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text && *text ? atoi(text) : otherwise;
}

static int answer(const char *call, int card) {
    const char *failing = getenv("FAKE_NVML_FAIL");
    if (!failing || strcmp(failing, call) != 0)
        return 0;
    int only = number("FAKE_NVML_FAIL_CARD", -1);
    return card < 0 || only < 0 || only == card ? number("FAKE_NVML_CODE", 999) : 0;
}

/* Handles are any pointers but NULL: the number of the card and one. */
static int card_of(void *handle) { return (int)(long)handle - 1; }

int nvmlInitWithFlags(unsigned flags) { (void)flags; return answer("init", -1); }
int nvmlInit_v2(void) { return answer("init", -1); }
int nvmlShutdown(void) { return answer("shutdown", -1); }
const char *nvmlErrorString(int code) { (void)code; return "as the test asked"; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = (unsigned)number("FAKE_NVML_CARDS", 0);
    return answer("count", -1);
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    *handle = (void *)(long)(index + 1);
    return answer("handle", (int)index);
}

int nvmlDeviceGetName(void *handle, char *name, unsigned size) {
    snprintf(name, size, "Fake H%d", 100 + card_of(handle));
    return answer("name", card_of(handle));
}

int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned size) {
    snprintf(uuid, size, "GPU-fake-%d", card_of(handle));
    return answer("uuid", card_of(handle));
}

int nvmlDeviceGetMemoryInfo(void *handle, memory_t *memory) {
    memory->total = 80ull << 30;
    memory->used = 1ull << 30;
    memory->free = memory->total - memory->used;
    return answer("memory", card_of(handle));
}

int nvmlSystemGetDriverVersion(char *version, unsigned size) {
    snprintf(version, size, "550.54.15");
    return answer("driver", -1);
}

int nvmlSystemGetCudaDriverVersion(int *version) {
    *version = 12040;
    return answer("cuda", -1);
}
