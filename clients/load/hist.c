/*
 * hist.c: see hist.h.
 */
#include "hist.h"

unsigned hist_index(uint64_t value)
{
    if (value < 2 * HIST_HALF)
        return (unsigned)value;
    unsigned shift = 64 - HIST_BITS - (unsigned)__builtin_clzll(value);
    return shift * HIST_HALF + (unsigned)(value >> shift);
}

uint64_t hist_upper(unsigned index)
{
    if (index < 2 * HIST_HALF)
        return index;
    unsigned shift = index / HIST_HALF - 1;
    uint64_t base = index - (uint64_t)shift * HIST_HALF;
    return (base << shift) + ((UINT64_C(1) << shift) - 1);
}

void hist_add(struct hist *hist, uint64_t value)
{
    if (hist->count == 0 || value < hist->min)
        hist->min = value;
    if (value > hist->max)
        hist->max = value;
    hist->count++;
    hist->sum += (double)value;
    hist->bucket[hist_index(value)]++;
}

void hist_merge(struct hist *into, const struct hist *from)
{
    if (from->count && (into->count == 0 || from->min < into->min))
        into->min = from->min;
    if (from->max > into->max)
        into->max = from->max;
    into->count += from->count;
    into->sum += from->sum;
    for (unsigned i = 0; i < HIST_BUCKETS; i++)
        into->bucket[i] += from->bucket[i];
}

uint64_t hist_percentile(const struct hist *hist, double percent)
{
    uint64_t seen = 0;
    double exact = (double)hist->count * percent / 100.0;
    uint64_t rank = (uint64_t)exact;
    rank += (double)rank < exact - 1e-9 * (double)hist->count;
    rank = rank ? rank : 1;
    for (unsigned i = 0; i < HIST_BUCKETS && hist->count; i++) {
        seen += hist->bucket[i];
        if (seen >= rank)
            return hist_upper(i) < hist->max ? hist_upper(i) : hist->max;
    }
    return hist->max;
}

double hist_mean(const struct hist *hist)
{
    return hist->count ? hist->sum / (double)hist->count : 0;
}
