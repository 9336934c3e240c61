// The judge of files: each that its platform could give reaches the desk once, with its message or behind it, or the agent reads
// that it cannot be had; none is in another message or conversation, and what lies on the disk is what messages have.
#include "base/mem.h"
#include "sim/oracle_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REMOVED_LATEST_US = 13 * MINUTE }; // from when no message has it (media.c looks every ten minutes)

void oracle_files_init(struct oracle *o)
{
    for (int i = 0; i < FILE_IDS; i++)
        o->files[i] = (struct file_model){.number = -1};
    for (int i = 0; i < MOST_EVENTS; i++)
        o->said[i].follows = -1;
}

static void complain(struct sim *sim, int file, int event, const char *what)
{
    char name[40], who[200];
    file_name(file, name, sizeof name);
    oracle_show(sim, event, who, sizeof who);
    sim_fail(sim, "FILE", "%s of %s: %s", name, who, what);
}

int oracle_file_of_reply(const struct sim *sim, int event)
{
    const struct said *s = &sim->oracle->said[event];
    return s->direction == REPLY && s->piece >= FILE_PIECES ? file_of_spoken(s->spoken, s->piece - FILE_PIECES) : -1;
}

// ---- in the store ----

static void want(struct sim *sim, int file, int event, int nth)
{
    struct file_model *f = &sim->oracle->files[file];
    bool reborn = f->number >= 0;
    bool pending = sim->oracle->said[event].state == MESSAGE_PENDING;
    *f = (struct file_model){.number = event,
                             .nth = nth,
                             .state = pending ? FILE_WANTED : FILE_ELSEWHERE,
                             .told = sim->oracle->said[event].direction == REPLY,
                             .reborn = reborn};
}

void oracle_see_files(struct sim *sim, int event, const struct store_accept *accept)
{
    int file = oracle_file_of_reply(sim, event);
    if (accept->direction == REPLY && file >= 0)
        want(sim, file, event, 0);
    for (int i = 0; accept->direction == INBOUND && i < sim->plan.event[event].files; i++)
        want(sim, file_of_event(event, i), event, i);
    sim->oracle->said[event].joined_count = 0;
    sim->oracle->said[event].is_joined = false;
    sim->oracle->said[event].there_bytes = 0;
}

static int album_of(const struct sim *sim, int event)
{
    while (sim->plan.event[event].album)
        event--;
    return event;
}

// How many files the message has.
static int files_of(const struct sim *sim, int event)
{
    int count = 0;
    for (int i = 0; i < FILE_IDS; i++)
        count += sim->oracle->files[i].number == event;
    return count;
}

void oracle_see_joined(struct sim *sim, int event, const struct store_accept *accept)
{
    int first, from;
    struct said *s = oracle_find(sim->oracle, accept->joined_id, &first);
    if (!s || s->state != MESSAGE_PENDING || album_of(sim, first) != album_of(sim, event) ||
        s->joined_count == MOST_PARTS_OF_ALBUM) {
        oracle_complain(sim, "FILE", event, "it is joined into what is no pending message of its album");
        return;
    }
    from = files_of(sim, first);
    s->joined[s->joined_count++] = event;
    sim->oracle->said[event].is_joined = true;
    for (int i = 0; i < sim->plan.event[event].files; i++)
        want(sim, file_of_event(event, i), first, from + i);
}

// The files of the message by their places; -1: there is none.
static void find_files(const struct sim *sim, int event, int out[FILES_MAX])
{
    for (int i = 0; i < FILES_MAX; i++)
        out[i] = -1;
    for (int i = 0; i < FILE_IDS; i++)
        if (sim->oracle->files[i].number == event && sim->oracle->files[i].nth < FILES_MAX)
            out[sim->oracle->files[i].nth] = i;
}

static int find_file(const struct sim *sim, int event, int nth)
{
    int files[FILES_MAX];
    find_files(sim, event, files);
    return nth >= 0 && nth < FILES_MAX ? files[nth] : -1;
}

// A message of its own stands at the tail of the lane with these.
static void follow(struct sim *sim, int event, uint32_t files, struct str text, int64_t id, int64_t at_us)
{
    struct oracle *o = sim->oracle;
    int account = sim->plan.event[event].account, nth = 0, piece = 0;
    int number = oracle_number_new(sim, account, sim->plan.event[event].conversation, INBOUND, text);
    if (number < 0)
        return;
    int own[FILES_MAX];
    find_files(sim, event, own);
    for (int i = 0; i < FILES_MAX; i++) {
        int file = files & UINT32_C(1) << i ? own[i] : -1;
        if (file < 0)
            continue;
        piece = piece ? piece : file + 1;
        o->files[file].number = number;
        o->files[file].nth = nth++;
        o->files[file].told = true;
    }
    struct said *s = &o->said[number];
    s->follows = event;
    s->piece = piece;
    s->id = s->place = id;
    s->account_id = o->said[event].account_id;
    s->sent_s = o->said[event].sent_s;
    s->conversation_id = o->said[event].conversation_id;
    s->epoch = o->accounts[account].epoch;
    s->received_us = s->settled_us = at_us;
    o->event_of_id[id] = number + 1;
    o->accepted++;
    o->counts[MESSAGE_PENDING]++;
    sim->result->accepted++;
    oracle_draw_illness(sim, number);
    sim_trace(sim, "stored: e%d follows e%d, message %lld, %d files", number, event, (long long)id, nth);
}

static bool is_removed(const struct sim *sim, int event)
{
    return sim->oracle->accounts[sim->plan.event[event].account].removed ||
           sim->oracle->accounts[sim->plan.event[event].account].id != sim->oracle->said[event].account_id;
}

// Its account, or its source, was not there when it was to be fetched.
static bool is_orphan(const struct sim *sim, const struct store_file *to)
{
    return sim->sources_changed && str_ends(to->why, STR("is gone"));
}

static void check_settled(struct sim *sim, int file, int event, const struct store_file *to)
{
    char hash[FILE_HASH_SIZE + 1];
    enum file_nature nature = file_nature(sim, file);
    file_hash(sim, file, hash);
    if (to->state == FILE_KEPT && nature != FILE_FINE)
        complain(sim, file, event, "it is kept, and cannot be had");
    if (to->state == FILE_KEPT && !str_eq_c(to->hash, hash))
        complain(sim, file, event, "something else is kept for it");
    if (to->state == FILE_KEPT && !files_have(sim, to->hash))
        complain(sim, file, event, "it is stored as kept, and its bytes are not there");
    if (to->state == FILE_FAILED && nature == FILE_FINE && !is_orphan(sim, to))
        complain(sim, file, event, "it is given up, and could be had");
}

void oracle_see_file(struct sim *sim, const struct store_file *to)
{
    int event;
    struct said *s = oracle_find(sim->oracle, to->message_id, &event);
    int file = s ? find_file(sim, event, to->nth) : -1;
    if (!to->applied || !s || s->id != to->message_id) // or of the account as it was before it was removed
        return;
    if (file < 0) {
        oracle_complain(sim, "FILE", event, "a file of it is stored that it does not have");
        return;
    }
    struct file_model *f = &sim->oracle->files[file];
    if (f->state != FILE_WANTED)
        complain(sim, file, event, "it is settled twice");
    if (to->state != FILE_WANTED)
        check_settled(sim, file, event, to);
    f->state = to->state;
    sim_trace(sim, "stored: file %d of e%d: %s", to->nth, event,
              to->state == FILE_WANTED ? "again later"
              : to->state == FILE_KEPT ? "kept"
                                       : "failed");
    bool owed = to->state != FILE_WANTED && s->state == MESSAGE_DELIVERED && !f->told && !is_removed(sim, event);
    if (owed != (to->follow_id != 0))
        complain(sim, file, event,
                 owed ? "its message was delivered without it, and it does not follow" : "it follows for no reason");
    if (to->follow_id)
        follow(sim, event, UINT32_C(1) << f->nth, STR(""), to->follow_id, to->at_us);
}

// ---- delivered ----

static bool may_repeat(const struct sim *sim, int event)
{
    const struct said *s = &sim->oracle->said[event];
    if (sim->options->beyond_settle)
        return true;
    return s->direction == REPLY ? s->sent_doubtful || s->reborn : oracle_is_ambiguous(sim, event);
}

static struct str untold_text(struct sim *sim, int event, const struct store_outcome *outcome, struct buf *whole)
{
    const struct said *s = &sim->oracle->said[event];
    oracle_text(sim, event, false, whole);
    size_t told = outcome->text_told.known ? outcome->text_told.bytes : whole->n;
    if (s->joined_count && told > s->there_bytes && !may_repeat(sim, event))
        oracle_complain(sim, "A1", event,
                        "words that were joined into it count as told, and the desk does not have them");
    if (!s->joined_count || told >= whole->n)
        return STR("");
    return str_sub(buf_str(whole), told && whole->p[told] == '\n' ? told + 1 : told, whole->n);
}

static void check_told(struct sim *sim, int file, int event)
{
    const struct file_model *f = &sim->oracle->files[file];
    if (f->state == FILE_KEPT && !f->was_shown && !may_repeat(sim, event))
        complain(sim, file, event, "it counts as told, and the desk does not have it");
    if (f->state == FILE_FAILED && !f->was_missed && !may_repeat(sim, event))
        complain(sim, file, event, "that it cannot be had counts as told, and nobody was");
}

void oracle_files_delivered(struct sim *sim, int event, const struct store_outcome *outcome)
{
    struct buf whole;
    uint32_t follows = 0;
    struct str text = untold_text(sim, event, outcome, &whole);
    int own[FILES_MAX];
    find_files(sim, event, own);
    for (int nth = 0; nth < FILES_MAX; nth++) {
        int file = own[nth];
        uint32_t bit = UINT32_C(1) << nth;
        struct file_model *f = file < 0 ? NULL : &sim->oracle->files[file];
        if (!f || f->told)
            continue;
        f->told = outcome->files_told & bit;
        if (f->told)
            check_told(sim, file, event);
        else if (f->state != FILE_WANTED)
            follows |= bit;
    }
    bool owed = (follows || text.n) && !is_removed(sim, event);
    if (owed != (outcome->follow_id != 0))
        oracle_complain(sim, "FILE", event,
                        owed ? "what it was delivered without does not follow"
                             : "nothing follows it, and a message does");
    if (outcome->follow_id)
        follow(sim, event, follows, text, outcome->follow_id, outcome->at_us);
    buf_done(&whole);
}

// ---- at the desk ----

static void see(struct sim *sim, int desk, int event, int thread, const struct file_seen *seen)
{
    struct file_model *f = seen->file < 0 ? NULL : &sim->oracle->files[seen->file];
    if (!f) {
        oracle_complain(sim, "FILE", event, "it comes with a file that nobody sent, or with a link that leads nowhere");
        return;
    }
    if (f->number != event) {
        complain(sim, seen->file, event, "it is another message's");
        return;
    }
    if (seen->sight == SEEN_FOLLOWS)
        return;
    bool missed = seen->sight == SEEN_FAILED;
    if (f->state != (missed ? FILE_FAILED : FILE_KEPT))
        complain(sim, seen->file, event, "the desk has another word of it than the store");
    f->was_missed |= missed;
    f->was_shown |= !missed;
    f->desk = desk;
    f->thread = thread;
    if (f->shown++ && !may_repeat(sim, event))
        complain(sim, seen->file, event, "it stands twice at the desk");
}

// The whole of it, or a link to where it lies at the desk.
static void see_reply(struct sim *sim, int event, struct str text, const struct sight *sight)
{
    int file = oracle_file_of_reply(sim, event);
    if (sight->count ? sight->seen[0].file != file : file_named(text) != file)
        complain(sim, file, event, "the customer gets another one");
    sim->oracle->files[file].was_shown = true;
}

bool oracle_files_applied(struct sim *sim, int desk, int event, int thread, struct str base, const struct sight *sight)
{
    struct said *s = &sim->oracle->said[event];
    struct buf whole;
    if (oracle_file_of_reply(sim, event) >= 0)
        see_reply(sim, event, base, sight);
    if (s->direction != INBOUND)
        return true;
    for (int i = 0; i < sight->count; i++)
        see(sim, desk, event, thread, &sight->seen[i]);
    oracle_text(sim, event, true, &whole);
    bool rest = !base.n && whole.n && sight->count;
    buf_done(&whole);
    if (rest && !s->was_there)
        oracle_complain(sim, "A1", event, "its files are there, and its words are not");
    if (s->there_bytes < base.n)
        s->there_bytes = base.n;
    return !rest;
}

bool oracle_files_note(const struct sim *sim, int event, const struct store_outcome *outcome)
{
    const struct said *s = &sim->oracle->said[event];
    return s->direction == INBOUND && s->was_there && outcome->link && files_of(sim, event);
}

void oracle_files_deleted(struct sim *sim, int desk, int thread)
{
    for (int i = 0; i < FILE_IDS; i++)
        if (sim->oracle->files[i].thread == thread && sim->oracle->files[i].desk == desk)
            sim->oracle->files[i].shown = 0;
}

void oracle_bytes_gone(struct sim *sim, int event)
{
    if (event >= 0)
        oracle_complain(sim, "FILE", event, "its files are to be sent, and their bytes are gone");
}

bool oracle_files_are(const struct sim *sim, int event, struct str attachments)
{
    struct arena arena = {0};
    struct attachment *files;
    size_t count = attachments_read(attachments, &arena, &files);
    int own[FILES_MAX];
    bool same = true;
    find_files(sim, event, own);
    for (size_t i = 0; i < FILES_MAX; i++)
        if (own[i] >= 0) // what followed a message is another's
            same &= i < count && files[i].state == sim->oracle->files[own[i]].state;
    arena_done(&arena);
    return same;
}

void oracle_files_take_back(struct oracle *o, const struct oracle *before)
{
    for (int i = 0; i < FILE_IDS; i++) {
        o->files[i].number = before->files[i].number;
        o->files[i].nth = before->files[i].nth;
        o->files[i].state = before->files[i].state;
        o->files[i].told = before->files[i].told;
    }
}

// ---- the end ----

// What is wanted when its message is forgotten goes with it.
static bool is_owed(const struct sim *sim, int file)
{
    const struct file_model *f = &sim->oracle->files[file];
    const struct said *s = f->number < 0 ? NULL : &sim->oracle->said[f->number];
    return s && s->id && s->state != MESSAGE_DISCARDED && f->state == FILE_WANTED && !is_removed(sim, f->number) &&
           !oracle_has_aged(sim, s, 0);
}

bool oracle_has_files(const struct sim *sim)
{
    for (int i = 0; i < FILE_IDS; i++)
        if (is_owed(sim, i))
            return false;
    return true;
}

static void judge_file(struct sim *sim, int file)
{
    const struct file_model *f = &sim->oracle->files[file];
    const struct said *s = f->number < 0 ? NULL : &sim->oracle->said[f->number];
    char hash[FILE_HASH_SIZE + 1];
    if (!s || !s->id || s->state == MESSAGE_DISCARDED)
        return;
    if (is_owed(sim, file))
        complain(sim, file, f->number, "it is wanted still, long after all faults ended");
    if (s->state == MESSAGE_DELIVERED && s->direction == INBOUND)
        check_told(sim, file, f->number);
    file_hash(sim, file, hash);
    if (f->state == FILE_KEPT && !oracle_has_aged(sim, s, 0) && !files_have(sim, str_of(hash)))
        complain(sim, file, f->number, "its bytes are gone, and its message is not");
}

static bool is_needed(const struct sim *sim, struct str hash)
{
    for (int i = 0; i < FILE_IDS; i++) {
        const struct file_model *f = &sim->oracle->files[i];
        const struct said *s = f->number < 0 ? NULL : &sim->oracle->said[f->number];
        char own[FILE_HASH_SIZE + 1];
        if (!s || (f->state != FILE_KEPT && !f->reborn))
            continue;
        file_hash(sim, i, own);
        if (str_eq_c(hash, own) && (f->reborn || !oracle_has_aged(sim, s, REMOVED_LATEST_US)))
            return true;
    }
    return false;
}

void oracle_judge_files(struct sim *sim)
{
    struct str hash;
    for (int i = 0; i < FILE_IDS; i++)
        judge_file(sim, i);
    if (sim_now(sim) - process_since_us(sim) < REMOVED_LATEST_US) // it looks at its start, too, if nothing went wrong
        return;
    for (size_t at = 0; files_next_kept(sim, &at, sim_now(sim) - REMOVED_LATEST_US, &hash);)
        if (!is_needed(sim, hash))
            sim_fail(sim, "FILE", "bytes are kept that no message has: %.*s", STR_ARG(hash));
}
