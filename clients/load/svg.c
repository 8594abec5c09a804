/*
 * svg.c: latency curves: for each operation, how long its fastest x percent took at most.
 *
 * The horizontal axis is the number of nines, so that the tail, which is what matters, has as much
 * room as the middle; the vertical one is logarithmic. Colours are told apart by people who do not
 * tell red from green, and a legend names each.
 */
#include "load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH  960.0
#define HEIGHT 560.0
#define LEFT   90.0
#define RIGHT  150.0
#define TOP    70.0
#define BOTTOM 60.0
#define STEPS  250

static const char *const colors[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                     "#e69f00", "#56b4e9", "#000000", "#7f7f7f"};

struct frame {
    struct http_buf *out;
    double low, high; /* powers of ten of nanoseconds */
    double nines;     /* how far the horizontal axis goes: 2 is p99 */
    size_t curves;
};

static double x_of(const struct frame *frame, double nines)
{
    return LEFT + nines / frame->nines * (WIDTH - LEFT - RIGHT);
}

static double y_of(const struct frame *frame, double ns)
{
    double part = (log10(ns < 1 ? 1 : ns) - frame->low) / (frame->high - frame->low);
    return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM);
}

/* Names come from a scenario: no markup may. */
static void put_text(struct http_buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<' || *text == '&')
            http_buf_str(out, *text == '<' ? "&lt;" : "&amp;");
        else if ((unsigned char)*text >= ' ')
            http_buf_add(out, text, 1);
    }
}

static void range(struct frame *frame, const struct load_figures *figures)
{
    if (!figures->latency.count)
        return;
    double low = floor(log10((double)(figures->latency.min ? figures->latency.min : 1)));
    double high = ceil(log10((double)(figures->latency.max ? figures->latency.max : 1)) + 1e-9);
    double nines = ceil(log10((double)figures->latency.count));
    nines = nines > 5 ? 5 : nines;
    frame->nines = nines > frame->nines ? nines : frame->nines;
    frame->low = low < frame->low ? low : frame->low;
    frame->high = high > frame->high ? high : frame->high;
}

static void grid(struct frame *frame)
{
    static const char *const names[] = {"0", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"};
    char text[24];
    for (int i = 0; i <= (int)frame->nines; i++)
        http_buf_printf(frame->out,
                        "<line x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f' class='g'/>"
                        "<text x='%.1f' y='%.1f' class='m'>%s</text>\n",
                        x_of(frame, i), x_of(frame, i), TOP, HEIGHT - BOTTOM, x_of(frame, i),
                        HEIGHT - BOTTOM + 20, names[i]);
    for (double power = frame->low; power <= frame->high; power++) {
        double y = y_of(frame, pow(10, power));
        load_duration(text, pow(10, power));
        char *dot = strchr(text, '.');
        if (dot) /* 1.00ms: 1ms */
            memmove(dot, dot + strspn(dot, ".0"), strlen(dot + strspn(dot, ".0")) + 1);
        http_buf_printf(frame->out,
                        "<line x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f' class='g'/>"
                        "<text x='%.1f' y='%.1f' class='e'>%s</text>\n",
                        LEFT, WIDTH - RIGHT, y, y, LEFT - 8, y + 4, text);
    }
}

/* Which line is whose, and its 99th percentile, beside the picture. */
static void legend(struct frame *frame, const char *name, const struct hist *latency,
                   const char *style)
{
    char text[24];
    double x = WIDTH - RIGHT + 20, y = TOP + 10 + 36.0 * (double)frame->curves;
    http_buf_printf(frame->out, "<line x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f' %s/>", x, x + 24, y,
                    y, style);
    http_buf_printf(frame->out, "<text x='%.1f' y='%.1f'>", x + 32, y + 4);
    put_text(frame->out, name);
    http_buf_printf(frame->out, "</text><text x='%.1f' y='%.1f' class='s'>p99 %s</text>\n", x + 32,
                    y + 19, load_duration(text, (double)hist_percentile(latency, 99)));
}

static void curve(struct frame *frame, const char *name, const struct load_figures *figures)
{
    const struct hist *latency = &figures->latency;
    size_t colors_count = sizeof colors / sizeof colors[0];
    char style[80];
    if (!latency->count)
        return;
    /* The second round of colours is dashed. */
    snprintf(style, sizeof style, "fill='none' stroke='%s' stroke-width='2'%s",
             colors[frame->curves % colors_count],
             frame->curves < colors_count ? "" : " stroke-dasharray='6 3'");
    /* Beyond one in count there is nothing that could be known. */
    double end = log10((double)latency->count);
    end = end < frame->nines ? end : frame->nines;
    http_buf_printf(frame->out, "<polyline %s points='", style);
    for (int i = 0; i <= STEPS; i++) {
        double nines = end * i / STEPS;
        http_buf_printf(frame->out, "%.1f,%.1f ", x_of(frame, nines),
                        y_of(frame, (double)hist_percentile(latency, 100 * (1 - pow(10, -nines)))));
    }
    http_buf_str(frame->out, "'/>\n");
    legend(frame, name, latency, style);
    frame->curves++;
}

static void title(const struct load_report *report, struct http_buf *out)
{
    const struct load_plan *plan = report->plan;
    struct load_figures *total = calloc(1, sizeof *total);
    if (!total)
        abort();
    load_total(plan, report->stats, total);
    http_buf_printf(out,
                    "<text x='%.0f' y='28' class='t'>Latency by percentile</text>\n"
                    "<text x='%.0f' y='50'>%s, %u connections, %.1f s, %.0f answers a second, "
                    "%llu errors</text>\n",
                    LEFT, LEFT, plan->ramp_count ? "Open loop, from the due time" : "Closed loop",
                    plan->connections, report->stats->seconds,
                    report->stats->seconds > 0 ? (double)total->answered / report->stats->seconds
                                               : 0,
                    (unsigned long long)load_errors(total));
    free(total);
}

void load_report_svg(const struct load_report *report, struct http_buf *out)
{
    const struct load_plan *plan = report->plan;
    const struct load_stats *stats = report->stats;
    struct frame frame = {.out = out, .low = 99, .high = -99, .nines = 2};
    for (size_t i = 0; i < plan->op_count; i++) {
        range(&frame, &stats->op[i]);
        range(&frame, &stats->then[i]);
    }
    if (frame.high <= frame.low) { /* nothing was answered */
        frame.low = 3;
        frame.high = 9;
    }
    http_buf_printf(out,
                    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %.0f %.0f' width='%.0f' "
                    "height='%.0f' role='img' aria-label='Latency by percentile'>\n"
                    "<style>text{font:13px sans-serif;fill:#222}.t{font-size:18px;font-weight:bold}"
                    ".m{text-anchor:middle}.e{text-anchor:end}.g{stroke:#ddd}.s{font-size:11px;"
                    "fill:#666}</style>\n"
                    "<rect width='100%%' height='100%%' fill='#fff'/>\n",
                    WIDTH, HEIGHT, WIDTH, HEIGHT);
    title(report, out);
    grid(&frame);
    for (size_t i = 0; i < plan->op_count; i++) {
        curve(&frame, plan->op[i].name, &stats->op[i]);
        curve(&frame, plan->op[i].then, &stats->then[i]);
    }
    http_buf_printf(out, "<text x='%.0f' y='%.0f' class='m'>percentile</text>\n</svg>\n",
                    (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14);
}
