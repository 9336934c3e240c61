// Takes the replies that nobody can take: to a source of a platform to which nothing can be sent, or to one that is gone. Each is
// refused with a sentence, which its agent reads, so that none waits for ever.
#include "relay/lanes.h"

static void step(struct delivery *delivery, const struct http_response *last, struct delivery_step *out)
{
    (void)last;
    const struct source *source = account_find_source_id(delivery->account, delivery->message->source_id);
    struct str why = STR("the channel that the customer wrote on is no longer connected");
    if (source)
        why = arena_printf(delivery->arena, "replies cannot be sent to customers on this channel (%.*s)",
                           STR_ARG(source->name));
    *out = (struct delivery_step){
        .kind = DELIVERY_END,
        .verdict = {.kind = VERDICT_REJECTED, .of_chat = true, .error = why},
    };
}

const struct receiver receiver_nobody = {.name = "nobody", .has_key = true, .step = step};
