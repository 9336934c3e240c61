// Pictures of customers (getUserProfilePhotos): drawn of their id and name, so that everybody has one of their own, and another one
// when they are called otherwise.
#include "sandbox/telegram.h"

#include "base/chance.h"
#include "base/hash.h"

enum {
    CELLS = 5,   // of each side of the figure, which is the same on its left and its right
    MARGIN = 1,  // cells around it
    SMALL = 160, // pixels of a side
    LARGE = 320,
    UNIQUE = 16, // digits of the bytes' hash
};

struct figure {
    bool cells[CELLS][CELLS];
    unsigned char colors[6]; // of the ground, and of the figure
};

static struct figure draw(const struct telegram_chat *chat)
{
    struct figure figure = {0};
    struct chance chance;
    chance_init(&chance, hash_str(chat->name) ^ (uint64_t)chat->id);
    for (int y = 0; y < CELLS; y++)
        for (int x = 0; x <= CELLS / 2; x++)
            figure.cells[y][x] = figure.cells[y][CELLS - 1 - x] = chance_next(&chance) & 1;
    for (int i = 0; i < 3; i++) {
        figure.colors[i] = (unsigned char)(200 + chance_next(&chance) % 48);
        figure.colors[3 + i] = (unsigned char)(40 + chance_next(&chance) % 120);
    }
    return figure;
}

// ---- as a PNG: two colours, a bit a pixel, nothing compressed ----

static void add_number(struct buf *out, uint32_t number)
{
    const unsigned char bytes[] = {(unsigned char)(number >> 24), (unsigned char)(number >> 16),
                                   (unsigned char)(number >> 8), (unsigned char)number};
    buf_add_str(out, (struct str){(const char *)bytes, sizeof(bytes)});
}

static void add_byte(struct buf *out, unsigned byte)
{
    const char c = (char)byte;
    buf_add_str(out, (struct str){&c, 1});
}

static uint32_t crc_of(struct str bytes)
{
    uint32_t crc = 0xFFFFFFFF;
    for (size_t i = 0; i < bytes.n; i++) {
        crc ^= (unsigned char)bytes.p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
    }
    return ~crc;
}

static uint32_t adler_of(struct str bytes)
{
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < bytes.n; i++) {
        a = (a + (unsigned char)bytes.p[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

static void add_chunk(struct buf *out, struct str kind, struct str data)
{
    struct buf sealed;
    buf_init(&sealed, SIZE_MAX / 2);
    buf_add_str(&sealed, kind);
    buf_add_str(&sealed, data);
    add_number(out, (uint32_t)data.n);
    buf_add_str(out, buf_str(&sealed));
    add_number(out, crc_of(buf_str(&sealed)));
    buf_done(&sealed);
}

static bool is_set(const struct figure *figure, int side, int x, int y)
{
    int cell = side / (CELLS + 2 * MARGIN);
    int column = x / cell - MARGIN, row = y / cell - MARGIN;
    return column >= 0 && column < CELLS && row >= 0 && row < CELLS && figure->cells[row][column];
}

static void add_pixels(struct buf *out, const struct figure *figure, int side)
{
    for (int y = 0; y < side; y++) {
        add_byte(out, 0); // no filter
        for (int x = 0; x < side; x += 8) {
            unsigned byte = 0;
            for (int bit = 0; bit < 8; bit++)
                byte = byte << 1 | is_set(figure, side, x + bit, y);
            add_byte(out, byte);
        }
    }
}

static void add_stored(struct buf *out, struct str pixels)
{
    buf_add_str(out, STR("\x78\x01\x01")); // one block, the last, as it is
    add_byte(out, pixels.n & 0xFF);
    add_byte(out, pixels.n >> 8);
    add_byte(out, ~pixels.n & 0xFF);
    add_byte(out, ~pixels.n >> 8 & 0xFF);
    buf_add_str(out, pixels);
    add_number(out, adler_of(pixels));
}

static struct str png_of(const struct figure *figure, int side, struct arena *arena)
{
    struct buf out, head, pixels, stored;
    buf_init(&out, SIZE_MAX / 2);
    buf_init(&head, SIZE_MAX / 2);
    buf_init(&pixels, SIZE_MAX / 2);
    buf_init(&stored, SIZE_MAX / 2);
    add_number(&head, (uint32_t)side);
    add_number(&head, (uint32_t)side);
    buf_add_str(&head, (struct str){"\1\3\0\0\0", 5}); // a bit of a palette
    add_pixels(&pixels, figure, side);
    add_stored(&stored, buf_str(&pixels));
    buf_add_str(&out, STR("\x89PNG\r\n\x1a\n"));
    add_chunk(&out, STR("IHDR"), buf_str(&head));
    add_chunk(&out, STR("PLTE"), (struct str){(const char *)figure->colors, sizeof(figure->colors)});
    add_chunk(&out, STR("IDAT"), buf_str(&stored));
    add_chunk(&out, STR("IEND"), STR(""));
    struct str png = arena_str(arena, buf_str(&out));
    buf_done(&out);
    buf_done(&head);
    buf_done(&pixels);
    buf_done(&stored);
    return png;
}

// ---- the method ----

static void write_size(struct asked *asked, struct json *json, const struct figure *figure, int side)
{
    struct str png = png_of(figure, side, asked->call->arena);
    const struct file *file = files_add(asked->bot->telegram->files, png, STR("picture.png"), STR("image/png"));
    json_open(json, '{');
    json_key_str(json, "file_id", ARENA_JOIN(asked->call->arena, STR("AgAC"), str_of(file->id)));
    json_key_str(json, "file_unique_id", str_sub(str_of(file->hash), 0, UNIQUE));
    json_key_int(json, "file_size", (int64_t)png.n);
    json_key_int(json, "width", side);
    json_key_int(json, "height", side);
    json_close(json, '}');
}

void telegram_get_user_profile_photos(struct asked *asked)
{
    const struct telegram_chat *chat = telegram_chat_find(asked->bot, telegram_param_int(asked->call, "user_id", 0));
    if (!chat || chat->id <= 0) {
        telegram_error(asked->call, 400, "Bad Request: user not found", -1);
        return;
    }
    struct figure figure = draw(chat);
    struct buf text;
    struct json json;
    telegram_begin(&text, &json);
    json_open(&json, '{');
    json_key_int(&json, "total_count", 1);
    json_key(&json, "photos");
    json_open(&json, '[');
    json_open(&json, '[');
    write_size(asked, &json, &figure, SMALL);
    write_size(asked, &json, &figure, LARGE);
    json_close(&json, ']');
    json_close(&json, ']');
    json_close(&json, '}');
    telegram_end(asked->call, &text, &json);
}
