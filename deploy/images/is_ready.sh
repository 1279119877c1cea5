#!/bin/bash
# is_ready.sh PORT: 0 if the service in this container says at /health/ready that it is. What `SERVICE --is-ready` does, in
# 2 ms: each start of a worker's executable loads LibTorch, 0.3 s of a core, which is too much for every few seconds.
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
printf 'GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
read -r -t 4 _ status _ <&3 && [ "$status" = 200 ]
