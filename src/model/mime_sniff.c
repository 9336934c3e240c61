// By magic numbers alone: WHATWG MIME Sniffing sections 6 and 7.1, the brands of ISO 14496-12 files (mp4ra.org), RFC 3533 and 7845
// (Ogg), RFC 8794 (EBML). What a browser could run is named as what it is before anything else is asked; an SVG is XML, no image.
#include "model/attachment.h"

struct magic {
    size_t at;
    struct str bytes;
    const char *mime;
};

static const struct magic magics[] = {
    {0, STR("\x89PNG\r\n\x1a\n"), "image/png"},
    {0, STR("\xff\xd8\xff"), "image/jpeg"},
    {0, STR("GIF87a"), "image/gif"},
    {0, STR("GIF89a"), "image/gif"},
    {0, STR("%PDF-"), "application/pdf"},
    {0, STR("%!PS-Adobe-"), "application/postscript"},
    {0, STR("PK\003\004"), "application/zip"},
    {0, STR("PK\005\006"), "application/zip"},
    {0, STR("\x1f\x8b\x08"), "application/gzip"},
    {0, STR("Rar!\x1a\x07"), "application/vnd.rar"},
    {0, STR("7z\xbc\xaf\x27\x1c"), "application/x-7z-compressed"},
    {0, STR("ID3"), "audio/mpeg"},
    {0, STR("fLaC"), "audio/flac"},
    {0, STR("#!AMR"), "audio/amr"},
};

// Of files that begin with RIFF and a length.
static const struct magic riffs[] = {
    {8, STR("WEBPVP"), "image/webp"},
    {8, STR("WAVE"), "audio/wav"},
    {8, STR("AVI "), "video/x-msvideo"},
};

// Of an Ogg stream's first packet, behind a first page's head with one segment.
static const struct magic oggs[] = {
    {28, STR("OpusHead"), "audio/ogg"},
    {28, STR("\x01vorbis"), "audio/ogg"},
    {28,
     STR("\x7f"
         "FLAC"),
     "audio/ogg"},
    {28, STR("Speex   "), "audio/ogg"},
    {28, STR("\x80theora"), "video/ogg"},
    {28, STR("fishead"), "video/ogg"},
    {0, STR("OggS\0"), "application/ogg"},
};

// The beginnings of brands.
static const struct magic brands[] = {
    {0, STR("heic"), "image/heic"}, {0, STR("heix"), "image/heic"}, {0, STR("heim"), "image/heic"},
    {0, STR("heis"), "image/heic"}, {0, STR("hevc"), "image/heic"}, {0, STR("hevx"), "image/heic"},
    {0, STR("avif"), "image/avif"}, {0, STR("avis"), "image/avif"}, {0, STR("M4A"), "audio/mp4"},
    {0, STR("M4B"), "audio/mp4"},   {0, STR("M4P"), "audio/mp4"},   {0, STR("qt  "), "video/quicktime"},
    {0, STR("3gp"), "video/3gpp"},  {0, STR("3g2"), "video/3gpp2"}, {0, STR("mp4"), "video/mp4"},
    {0, STR("iso"), "video/mp4"},   {0, STR("avc1"), "video/mp4"},  {0, STR("M4V"), "video/mp4"},
    {0, STR("MSNV"), "video/mp4"},  {0, STR("dash"), "video/mp4"},  {0, STR("f4v"), "video/mp4"},
};

// Case does not matter; a blank or ">" must follow where `ends`.
static const struct {
    struct str text;
    bool ends;
    const char *mime;
} tags[] = {
    {STR("<!doctype html"), true, "text/html"},
    {STR("<html"), true, "text/html"},
    {STR("<head"), true, "text/html"},
    {STR("<script"), true, "text/html"},
    {STR("<iframe"), true, "text/html"},
    {STR("<h1"), true, "text/html"},
    {STR("<div"), true, "text/html"},
    {STR("<font"), true, "text/html"},
    {STR("<table"), true, "text/html"},
    {STR("<a"), true, "text/html"},
    {STR("<style"), true, "text/html"},
    {STR("<title"), true, "text/html"},
    {STR("<b"), true, "text/html"},
    {STR("<body"), true, "text/html"},
    {STR("<br"), true, "text/html"},
    {STR("<p"), true, "text/html"},
    {STR("<!--"), false, "text/html"},
    {STR("<?xml"), false, "text/xml"},
    {STR("<svg"), true, "text/xml"},
};

static struct str find(struct str s, const struct magic *table, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(str_sub(s, table[i].at, table[i].at + table[i].bytes.n), table[i].bytes))
            return str_of(table[i].mime);
    return STR_NONE;
}
#define FIND(s, table) find(s, table, sizeof(table) / sizeof *(table))

static bool ends_a_tag(struct str s, size_t at)
{
    return at < s.n && (s.p[at] == ' ' || s.p[at] == '>' || s.p[at] == '\t' || s.p[at] == '\n' || s.p[at] == '\r' ||
                        s.p[at] == '\f' || s.p[at] == '/');
}

// Stricter than the standard: also behind a byte order mark, and with any blank behind the name.
static struct str sniff_markup(struct str s)
{
    size_t at = str_starts(s, STR("\xef\xbb\xbf")) ? 3 : 0;
    while (at < s.n && memchr("\t\n\f\r ", s.p[at], 5))
        at++;
    s = str_sub(s, at, s.n);
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (str_ieq(str_sub(s, 0, tags[i].text.n), tags[i].text) && (!tags[i].ends || ends_a_tag(s, tags[i].text.n)))
            return str_of(tags[i].mime);
    return STR_NONE;
}

static uint32_t big_endian(struct str s, size_t at)
{
    const unsigned char *p = (const unsigned char *)s.p + at;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

// The box at the front: its length, "ftyp", the major brand, a version, the brands it is compatible with.
static struct str sniff_brands(struct str s)
{
    if (s.n < 12 || !str_eq(str_sub(s, 4, 8), STR("ftyp")))
        return STR_NONE;
    uint32_t length = big_endian(s, 0);
    struct str mime = FIND(str_sub(s, 8, 12), brands);
    for (size_t at = 16; !mime.p && at + 4 <= length && at + 4 <= s.n; at += 4)
        mime = FIND(str_sub(s, at, at + 4), brands);
    return mime;
}

// The type of document (0x4282) near the front, behind the length of its name.
static struct str sniff_ebml(struct str s)
{
    static const struct magic types[] = {
        {3, STR("webm"), "video/webm"},
        {3, STR("matroska"), "video/x-matroska"},
    };
    if (!str_starts(s, STR("\x1a\x45\xdf\xa3")))
        return STR_NONE;
    for (size_t at = 4; at < 64 && at < s.n; at++)
        if (str_starts(str_sub(s, at, s.n), STR("\x42\x82")))
            return FIND(str_sub(s, at, s.n), types);
    return STR_NONE;
}

// Bytes of the MPEG audio frame of layer III that begins there, with its four bytes of head; 0: none does (ISO 11172-3, 13818-3).
static size_t frame_size(struct str s, size_t at)
{
    static const int kbit[2][15] = {{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320},
                                    {0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}};
    static const int hertz[3] = {44100, 48000, 32000};
    uint32_t head = big_endian(s, at);
    unsigned version = head >> 19 & 3, layer = head >> 17 & 3, rate = head >> 12 & 15, frequency = head >> 10 & 3;
    if (head >> 21 != 0x7ff || version == 1 || layer != 1 || rate == 0 || rate == 15 || frequency == 3)
        return 0;
    bool is_low = version != 3; // MPEG 2 and 2.5
    int samples = hertz[frequency] >> (version == 3 ? 0 : version == 2 ? 1 : 2);
    int size = (is_low ? 72 : 144) * kbit[is_low][rate] * 1000 / samples + (int)(head >> 9 & 1);
    return (size_t)size;
}

// A sound without a head of its own: MP3 by one frame, and the next where there is as much of it; AAC by its sync word.
static struct str sniff_frames(struct str s)
{
    if (s.n < 4)
        return STR_NONE;
    if ((big_endian(s, 0) & 0xfff60000) == 0xfff00000)
        return STR("audio/aac");
    size_t size = frame_size(s, 0);
    return size && (size + 4 > s.n || frame_size(s, size)) ? STR("audio/mpeg") : STR_NONE;
}

// The two letters alone would be a word: what stands behind its size is always nothing.
static struct str sniff_bmp(struct str s)
{
    bool is = s.n >= 10 && str_starts(s, STR("BM")) && big_endian(s, 6) == 0;
    return is ? STR("image/bmp") : STR_NONE;
}

static struct str sniff_container(struct str s)
{
    if (str_starts(s, STR("RIFF")))
        return FIND(s, riffs);
    return str_starts(s, STR("OggS\0")) ? FIND(s, oggs) : STR_NONE;
}

struct str mime_sniff(struct str first_bytes)
{
    static struct str (*const sniffs[])(struct str s) = {
        sniff_markup, sniff_container, sniff_brands, sniff_ebml, sniff_bmp, sniff_frames,
    };
    struct str s = str_sub(first_bytes, 0, MIME_SNIFF_SIZE), mime = FIND(s, magics);
    for (size_t i = 0; !mime.p && i < sizeof sniffs / sizeof *sniffs; i++)
        mime = sniffs[i](s);
    return mime;
}
