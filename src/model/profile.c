// Who writes: struct profile as JSON, always in the same order, so that equal ones are equal texts.
#include "model/message.h"

#include "base/json.h"

struct member {
    const char *key;
    struct str *text;
};

enum { MEMBERS = 5 };

static void members_of(struct profile *profile, struct member out[MEMBERS])
{
    out[0] = (struct member){"name", &profile->name};
    out[1] = (struct member){"username", &profile->username};
    out[2] = (struct member){"language", &profile->language};
    out[3] = (struct member){"phone", &profile->phone};
    out[4] = (struct member){"email", &profile->email};
}

struct str profile_write(const struct profile *profile, struct arena *arena)
{
    struct profile copy = *profile;
    struct member members[MEMBERS];
    struct buf out;
    members_of(&copy, members);
    buf_init(&out, SIZE_MAX / 2);
    struct json json = {.out = &out};
    bool any = false;
    json_open(&json, '{');
    for (size_t i = 0; i < MEMBERS; i++) {
        if (members[i].text->p)
            json_key_str(&json, members[i].key, *members[i].text);
        any = any || members[i].text->p;
    }
    json_close(&json, '}');
    buf_must(&out);
    struct str text = any ? arena_str(arena, buf_str(&out)) : STR_NONE;
    buf_done(&out);
    return text;
}

struct profile profile_read(struct str json, struct arena *arena)
{
    struct profile profile = {0};
    struct member members[MEMBERS];
    yyjson_doc *doc = json.n ? json_read(json) : NULL;
    members_of(&profile, members);
    for (size_t i = 0; i < MEMBERS; i++)
        *members[i].text = arena_str(arena, json_get_str(yyjson_doc_get_root(doc), members[i].key));
    yyjson_doc_free(doc);
    return profile;
}

struct str profile_merge(struct str known, const struct profile *said, struct arena *arena)
{
    struct profile copy = *said, whole;
    if (!said->name.p && !said->username.p && !said->language.p && !said->phone.p && !said->email.p)
        return STR_NONE;
    struct member from[MEMBERS], to[MEMBERS];
    struct str text = profile_write(said, arena);
    if (!text.p || str_eq(text, known))
        return STR_NONE;
    whole = profile_read(known, arena);
    members_of(&copy, from);
    members_of(&whole, to);
    for (size_t i = 0; i < MEMBERS; i++)
        if (from[i].text->p)
            *to[i].text = *from[i].text;
    text = profile_write(&whole, arena);
    return str_eq(text, known) ? STR_NONE : text;
}
