// The sink as Intercom: contacts, conversations, replies and look-ups, as much of the API as the relay uses in good times and after a
// lost answer. It reads the JSON that the relay writes by searching for keys, keeps of each conversation its first and its latest
// message, and never refuses for the rate: the headers say that a million requests are left.
//
// Ids follow the order in which things are made, from 0: contact n is 65000000000000001 and n of seven digits, conversation n is 1 and
// n of seven digits. So the generator can reply without reading an answer.
#pragma once
#include "bench/support/peers.h"

// False: not an address of this API.
bool inbox_handle(const struct peer_request *request, struct peer_answer *answer);

// What is taken in is book.h's to count; this forgets contacts and conversations.
void inbox_reset(void);
