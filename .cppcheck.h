// What cppcheck must know of macros that it cannot read by itself: it does not parse the system's headers and has no __VA_OPT__.
#define __VA_OPT__(...)
#define yyjson_arr_foreach(array, index, count, value)                                                                 \
    for ((index) = 0, (count) = yyjson_arr_size(array), (value) = yyjson_arr_get_first(array); (index) < (count);     \
         (index)++, (value) = unsafe_yyjson_get_next(value))
#define yyjson_obj_foreach(object, index, count, key, value)                                                           \
    for ((index) = 0, (count) = yyjson_obj_size(object), (key) = unsafe_yyjson_get_first(object),                     \
        (value) = (key) + 1;                                                                                           \
         (index) < (count); (index)++, (key) = unsafe_yyjson_get_next(value), (value) = (key) + 1)
#define yyjson_mut_arr_foreach(array, index, count, value)                                                             \
    for ((index) = 0, (count) = yyjson_mut_arr_size(array), (value) = yyjson_mut_arr_get_first(array);                \
         (index) < (count); (index)++, (value) = (value)->next)
#define yyjson_mut_obj_foreach(object, index, count, key, value)                                                       \
    for ((index) = 0, (count) = yyjson_mut_obj_size(object), (key) = yyjson_mut_arr_get_first(object),                \
        (value) = (key)->next;                                                                                         \
         (index) < (count); (index)++, (key) = (value)->next, (value) = (key)->next)
