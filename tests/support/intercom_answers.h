// What Intercom answers where all is well, for tests on the rig: the contact, the conversation made with its first message,
// a reply taken (a format: the part's id).
#pragma once

__attribute__((
    unused)) static const char intercom_contact[] = "{\"type\":\"contact\",\"id\":\"6657adde6abd0167d9419d00\"}";
__attribute__((unused)) static const char intercom_created[] =
    "{\"type\":\"user_message\",\"id\":\"403918330\",\"created_at\":1700000000,\"body\":\"b\","
    "\"message_type\":\"inapp\",\"conversation_id\":\"499\"}";
__attribute__((unused)) static const char intercom_part[] =
    "{\"type\":\"conversation\",\"id\":\"499\",\"conversation_parts\":{\"type\":"
    "\"conversation_part.list\",\"conversation_parts\":[{\"type\":\"conversation_part\",\"id\":"
    "\"%d\",\"body\":\"b\",\"created_at\":1700000000,\"author\":{\"type\":\"user\",\"id\":"
    "\"6657adde6abd0167d9419d00\"}}],\"total_count\":1}}";
