#include "base/time_text.h"

#include <stdio.h>
#include <time.h>

static char *put(char *out, int number, int digits)
{
    for (int i = digits; i-- > 0; number /= 10)
        out[i] = (char)('0' + number % 10);
    return out + digits;
}

// "2026-11-22": of a year with four digits. By hand, since printf is most of the cost of a small JSON text.
static char *put_triple(char *out, const int numbers[3], int digits, char between)
{
    out = put(out, numbers[0], digits);
    for (int i = 1; i < 3; i++) {
        *out++ = between;
        out = put(out, numbers[i], 2);
    }
    return out;
}

static struct str strange_year(char out[TIME_TEXT_SIZE], const struct tm *tm, int64_t us)
{
    int n = snprintf(out, TIME_TEXT_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm->tm_year + 1900, tm->tm_mon + 1,
                     tm->tm_mday, tm->tm_hour, tm->tm_min, tm->tm_sec, (int)(us / 1000));
    return (struct str){out, (size_t)n};
}

struct str time_text(int64_t at_us, char out[TIME_TEXT_SIZE])
{
    int64_t us = at_us % 1000000;
    time_t seconds = (time_t)(at_us / 1000000);
    if (us < 0) {
        us += 1000000;
        seconds--;
    }
    struct tm tm;
    if (!gmtime_r(&seconds, &tm))
        return STR("invalid");
    if (tm.tm_year < -1900 || tm.tm_year > 9999 - 1900)
        return strange_year(out, &tm, us);
    char *end = put_triple(out, (int[]){tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday}, 4, '-');
    *end++ = 'T';
    end = put_triple(end, (int[]){tm.tm_hour, tm.tm_min, tm.tm_sec}, 2, ':');
    *end++ = '.';
    end = put(end, (int)(us / 1000), 3);
    *end++ = 'Z';
    *end = 0;
    return (struct str){out, (size_t)(end - out)};
}

// Reads exactly `digits` digits at *at.
static bool number(struct str s, size_t *at, int digits, int *out)
{
    int value = 0;
    for (int i = 0; i < digits; i++, (*at)++) {
        if (*at >= s.n || s.p[*at] < '0' || s.p[*at] > '9')
            return false;
        value = value * 10 + (s.p[*at] - '0');
    }
    *out = value;
    return true;
}

static bool literal(struct str s, size_t *at, char c)
{
    if (*at >= s.n || s.p[*at] != c)
        return false;
    (*at)++;
    return true;
}

static bool fraction(struct str s, size_t *at, int64_t *out_us)
{
    int64_t us = 0, scale = 100000;
    size_t begin = *at;
    for (; *at < s.n && s.p[*at] >= '0' && s.p[*at] <= '9'; (*at)++, scale /= 10)
        us += (s.p[*at] - '0') * scale;
    *out_us = us;
    return *at > begin;
}

// "Z" or "+hh:mm": seconds to take away.
static bool offset(struct str s, size_t *at, int64_t *out_seconds)
{
    *out_seconds = 0;
    if (literal(s, at, 'Z') || literal(s, at, 'z'))
        return true;
    int sign = literal(s, at, '+') ? 1 : literal(s, at, '-') ? -1 : 0;
    int hours, minutes;
    if (!sign || !number(s, at, 2, &hours) || !literal(s, at, ':') || !number(s, at, 2, &minutes))
        return false;
    *out_seconds = sign * (hours * 3600 + minutes * 60);
    return hours < 24 && minutes < 60;
}

bool time_parse(struct str s, int64_t *out_us)
{
    struct tm tm = {0};
    size_t at = 0;
    int64_t us = 0, shift;
    if (!number(s, &at, 4, &tm.tm_year) || !literal(s, &at, '-') || !number(s, &at, 2, &tm.tm_mon) ||
        !literal(s, &at, '-') || !number(s, &at, 2, &tm.tm_mday))
        return false;
    if (!literal(s, &at, 'T') && !literal(s, &at, 't') && !literal(s, &at, ' '))
        return false;
    if (!number(s, &at, 2, &tm.tm_hour) || !literal(s, &at, ':') || !number(s, &at, 2, &tm.tm_min) ||
        !literal(s, &at, ':') || !number(s, &at, 2, &tm.tm_sec))
        return false;
    if (literal(s, &at, '.') && !fraction(s, &at, &us))
        return false;
    if (!offset(s, &at, &shift) || at != s.n)
        return false;
    if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 ||
        tm.tm_sec > 60)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *out_us = ((int64_t)timegm(&tm) - shift) * 1000000 + us;
    return true;
}
