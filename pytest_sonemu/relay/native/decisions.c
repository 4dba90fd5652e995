/* What becomes of the n-th packet, from its number alone; as decisions.py. */
#include "core.h"

#include <math.h>

uint64_t draw(uint64_t key, uint64_t number, unsigned purpose) {
    uint64_t value = key + (16 * number + purpose + 1) * 0x9E3779B97F4A7C15u;
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9u;
    value = (value ^ value >> 27) * 0x94D049BB133111EBu;
    return value ^ value >> 31;
}

double unit(uint64_t bits) { return (double)(bits >> 11) * 0x1p-53; }

int64_t jitter_of(const struct settings *set, uint64_t key, uint64_t number, unsigned purpose) {
    uint64_t bits = draw(key, number, purpose);
    double deviation;

    if (set->distribution == UNIFORM) {
        deviation = 2.0 * unit(bits) - 1.0;
    } else if (set->distribution == NORMAL) {
        uint64_t total = 0;
        for (unsigned word = 0; word < 3; word++) {
            if (word)
                bits = draw(key, number, purpose + word);
            total += (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48);
        }
        deviation = (double)(total + 6) / 65536.0 - 6.0;
    } else {
        double heavy = 1.0 / sqrt(sqrt(1.0 - unit(bits)));
        deviation = (heavy - 4.0 / 3.0) / (sqrt(2.0) / 3.0);
    }
    return (int64_t)floor(deviation * (double)set->jitter + 0.5);
}
