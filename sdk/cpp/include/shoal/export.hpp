// What libshoal_client shows; everything else in it is hidden.
#pragma once

#define SHOAL_CLIENT_API __attribute__((visibility("default")))
