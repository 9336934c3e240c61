// What the first bytes of a file say it is.
#include "model/attachment.h"

#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

struct row {
    struct str bytes;
    const char *mime; // NULL: they do not say
};

static void check(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct str mime = mime_sniff(rows[i].bytes);
        if (!str_eq(mime, str_of(rows[i].mime)) || (mime.p != NULL) != (rows[i].mime != NULL))
            fail_msg("row %zu: %.*s, not %s", i, STR_ARG(mime), rows[i].mime ? rows[i].mime : "nothing");
    }
}
#define CHECK(rows) check(rows, sizeof(rows) / sizeof *(rows))

static void test_pictures(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {STR("\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "image/png"},
        {STR("\x89PNG\n\x1a\n"), NULL},
        {STR("\xff\xd8\xff\xe0\0\x10JFIF"), "image/jpeg"},
        {STR("\xff\xd8"), NULL},
        {STR("GIF87a\1\0"), "image/gif"},
        {STR("GIF89a"), "image/gif"},
        {STR("GIF90a"), NULL},
        {STR("RIFF\x24\0\0\0WEBPVP8 "), "image/webp"},
        {STR("BM\x36\0\0\0\0\0\0\0\x36\0\0\0"), "image/bmp"},
        {STR("BMW sells cars"), NULL},
        {STR("\0\0\0\x18"
             "ftypheic\0\0\0\0mif1heic"),
         "image/heic"},
        {STR("\0\0\0\x18"
             "ftypmif1\0\0\0\0mif1heic"),
         "image/heic"},
        {STR("\0\0\0\x18"
             "ftypmif1\0\0\0\0mif1avif"),
         "image/avif"},
        {STR("\0\0\0\x10"
             "ftypmif1\0\0\0\0mif1avif"),
         NULL}, // brands behind the box are none
        {STR("\0\0\0\x1c"
             "ftypavif\0\0\0\0avifmif1"),
         "image/avif"},
    };
    CHECK(rows);
}

static void test_sounds_and_films(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {STR("OggS\0\2\0\0\0\0\0\0\0\0\1\2\3\4\0\0\0\0\1\2\3\4\1\x13OpusHead\1"), "audio/ogg"},
        {STR("OggS\0\2\0\0\0\0\0\0\0\0\1\2\3\4\0\0\0\0\1\2\3\4\1\x1e\1vorbis"), "audio/ogg"},
        {STR("OggS\0\2\0\0\0\0\0\0\0\0\1\2\3\4\0\0\0\0\1\2\3\4\1\x2a\x80theora"), "video/ogg"},
        {STR("OggS\0\2\0\0\0\0\0\0\0\0\1\2\3\4"), "application/ogg"},
        {STR("OggS of a sort"), NULL},
        {STR("ID3\4\0\0\0\0\0\0"), "audio/mpeg"},
        {STR("\xff\xfb\x90\x64\0\0"), "audio/mpeg"}, // layer III, 128 kbit/s at 44.1 kHz; the next is not seen
        {STR("\xff\xfb\xf0\x64\0\0"), NULL},         // no such bit rate
        {STR("\xff\xfb\x9c\x64\0\0"), NULL},         // no such frequency
        {STR("\xff\xfe"
             "a\0b\0"),
         NULL}, // text, as UTF-16
        {STR("\xff\xf1\x50\x80\0\x1f\xfc"), "audio/aac"},
        {STR("\0\0\0\x1c"
             "ftypM4A \0\0\2\0M4A isomiso2"),
         "audio/mp4"},
        {STR("\0\0\0\x18"
             "ftypisom\0\0\2\0isommp42"),
         "video/mp4"},
        {STR("\0\0\0\x18"
             "ftypmp42\0\0\0\0mp42isom"),
         "video/mp4"},
        {STR("\0\0\0\x14"
             "ftypqt  \0\0\2\0qt  "),
         "video/quicktime"},
        {STR("\0\0\0\x14"
             "ftyp3gp4\0\0\0\0003gp4"),
         "video/3gpp"},
        {STR("\0\0\0\x14"
             "ftypcrx \0\0\0\1crx "),
         NULL},
        {STR("\0\0\0\x14"
             "ftyp"),
         NULL},
        {STR("\x1a\x45\xdf\xa3\x9f\x42\x86\x81\1\x42\xf7\x81\1\x42\xf2\x81\4\x42\xf3\x81\x08\x42\x82\x84webm"),
         "video/webm"},
        {STR("\x1a\x45\xdf\xa3\xa3\x42\x86\x81\1\x42\x82\x88matroska"), "video/x-matroska"},
        {STR("\x1a\x45\xdf\xa3\xa3\x42\x86\x81\1"), NULL},
        {STR("RIFF\x24\0\0\0WAVEfmt "), "audio/wav"},
        {STR("RIFF\x24\0\0\0AVI LIST"), "video/x-msvideo"},
        {STR("RIFF\x24\0\0\0ACON"), NULL},
        {STR("#!AMR\n"), "audio/amr"},
        {STR("fLaC\0\0\0\x22"), "audio/flac"},
    };
    CHECK(rows);
}

// Where as much is there, the next frame has to begin where the first one ends.
static void test_one_frame_is_followed_by_the_next(void **state)
{
    (void)state;
    char bytes[512] = "\xff\xfb\x90\x64"; // 417 bytes without the filling one: 144 * 128000 / 44100
    assert_null(mime_sniff((struct str){bytes, sizeof bytes}).p);
    assert_str(mime_sniff((struct str){bytes, 420}), "audio/mpeg");
    memcpy(bytes + 417, "\xff\xfb\x92\x64", 4);
    assert_str(mime_sniff((struct str){bytes, sizeof bytes}), "audio/mpeg");
    char low[512] = "\xff\xf3\x40\xc4"; // MPEG 2, 32 kbit/s at 22.05 kHz: 72 * 32000 / 22050
    memcpy(low + 104, "\xff\xf3\x40\xc4", 4);
    assert_str(mime_sniff((struct str){low, sizeof low}), "audio/mpeg");
}

static void test_documents(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {STR("%PDF-1.7\n"), "application/pdf"},
        {STR(" %PDF-1.7\n"), NULL},
        {STR("PK\3\4\x14\0\6\0[Content_Types].xml"), "application/zip"}, // Word's and the like
        {STR("PK\5\6\0\0"), "application/zip"},
        {STR("\x1f\x8b\x08\0"), "application/gzip"},
        {STR("Rar!\x1a\7\0"), "application/vnd.rar"},
        {STR("7z\xbc\xaf\x27\x1c\0\4"), "application/x-7z-compressed"},
        {STR("Dear sirs,"), NULL},
        {STR(""), NULL},
        {STR_NONE, NULL},
    };
    CHECK(rows);
}

static void test_what_a_browser_runs_is_named_so(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {STR("<!DOCTYPE html>"), "text/html"},
        {STR("<!doctype HTML "), "text/html"},
        {STR("\n\t\f\r <HTML>"), "text/html"},
        {STR("\xef\xbb\xbf <html>"), "text/html"},
        {STR("<script>alert(1)</script>"), "text/html"},
        {STR("<script\nsrc=x>"), "text/html"},
        {STR("<script/src=x>"), "text/html"},
        {STR("<b>bold"), "text/html"},
        {STR("<a href=x>"), "text/html"},
        {STR("<!-- a remark"), "text/html"},
        {STR("<!--"), "text/html"},
        {STR("<address@example.com>"), NULL},
        {STR("<b"), NULL},
        {STR("<?xml version='1.0'?><svg>"), "text/xml"},
        {STR("<svg xmlns='http://www.w3.org/2000/svg'>"), "text/xml"}, // it may hold a script: no image
        {STR("hello <html>"), NULL},
    };
    CHECK(rows);
}

// A sanitizer sees a read behind the end.
static void test_any_cut_is_read_safely(void **state)
{
    (void)state;
    static const struct str texts[] = {
        STR("\0\0\0\x20"
            "ftypmif1\0\0\0\0mif1xxxxxxxxavif"),
        STR("OggS\0\2\0\0\0\0\0\0\0\0\1\2\3\4\0\0\0\0\1\2\3\4\1\x13OpusHead\1"),
        STR("\x1a\x45\xdf\xa3\x9f\x42\x86\x81\1\x42\xf7\x81\1\x42\x82\x84webm"),
        STR("\xff\xfb\x90\x64\0\0\0\0"),
        STR("RIFF\x24\0\0\0WEBPVP8 "),
        STR("BM\x36\0\0\0\0\0\0\0\x36\0\0\0"),
        STR("<!doctype html>"),
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (size_t n = 0; n <= texts[i].n; n++) {
            char *exact = malloc(n ? n : 1);
            memcpy(exact, texts[i].p, n);
            mime_sniff((struct str){exact, n});
            free(exact);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_sounds_and_films),
        cmocka_unit_test(test_one_frame_is_followed_by_the_next),
        cmocka_unit_test(test_documents),
        cmocka_unit_test(test_what_a_browser_runs_is_named_so),
        cmocka_unit_test(test_any_cut_is_read_safely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
