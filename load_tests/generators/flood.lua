-- Requests at a rate: wrk -t1 -c CONNECTIONS -s flood.lua URL -- FOLDER COUNT SECONDS [PER-S]
-- Posts the pictures in a folder in turn for SECONDS, and then only reads what is still to come, so wrk's own duration is
-- to be longer. With a rate, requests come however long the others take, each on the next connection that is free: at
-- random times (exponential gaps). Without, each connection posts again once it is answered. Prints a
-- line of JSON: requests sent, by status those answered, those of the first SECONDS that were answered with 200, how
-- long these took, how late requests were sent.
--
-- Each request in flight has an X-Request-ID of its own, which the server gives back: so its time is known.

local ffi = require("ffi")
ffi.cdef [[
    typedef struct { long s; long us; } moment;
    int gettimeofday(moment *now, void *zone);
]]
local moment = ffi.new("moment")

local IN_FLIGHT = 600 -- the connections, and some whose request broke off
local NEVER_MS = 3600 * 1000

local requests, sent_at, free, first, last = {}, {}, {}, 1, 0
local until_s, gap_s, due
local looked_at = false -- wrk asks for one request that it does not send

-- What `done` reads of this thread. wrk copies numbers and strings from one state of Lua to the other.
sent, good, behind_ms = 0, 0, 0
statuses, took_ms = {}, {}

local function now()
    ffi.C.gettimeofday(moment, nil)
    return tonumber(moment.s) + tonumber(moment.us) / 1e6
end

local function read(name)
    local file = assert(io.open(name, "rb"))
    local body = file:read("*a")
    file:close()
    return body
end

local function release(number)
    last = last + 1
    free[last] = number
end

function init(args)
    local bodies = {}
    for number = 0, tonumber(args[2]) - 1 do
        bodies[number + 1] = read(args[1] .. "/" .. number)
    end
    for number = 1, IN_FLIGHT do
        local headers = { ["X-Request-ID"] = tostring(number), ["Content-Type"] = "application/octet-stream" }
        requests[number] = wrk.format("POST", nil, headers, bodies[number % #bodies + 1])
        release(number)
    end
    due = now()
    until_s = due + tonumber(args[3])
    if args[4] then
        math.randomseed(1)
        gap_s = 1 / tonumber(args[4])
    end
end

-- wrk asks before each request how many milliseconds its connection is to wait.
function delay()
    local time = now()
    if gap_s then
        due = due - gap_s * math.log(1 - math.random())
    else
        due = time
    end
    if due >= until_s then
        return NEVER_MS
    end
    behind_ms = math.max(behind_ms, 1000 * (time - due))
    return math.max(0, math.floor(0.5 + 1000 * (due - time)))
end

function request()
    if not looked_at then
        looked_at = true
        return requests[1]
    end
    local number = free[first]
    free[first], first = nil, first + 1
    sent, sent_at[number] = sent + 1, now()
    return requests[number]
end

function response(status, headers)
    local number, time = tonumber(headers["x-request-id"]), now()
    statuses[status] = (statuses[status] or 0) + 1
    if status == 200 then
        took_ms[#took_ms + 1] = 1000 * (time - sent_at[number])
        good = good + (time <= until_s and 1 or 0)
    end
    release(number)
end

local thread

function setup(only)
    thread = only
end

function done(_, _, _)
    local took, answered = thread:get("took_ms"), {}
    table.sort(took)
    local function percentile(share)
        return took[math.max(1, math.ceil(share * #took))] or 0
    end
    for status, count in pairs(thread:get("statuses")) do
        answered[#answered + 1] = string.format('"%d": %d', status, count)
    end
    io.write(string.format('{"sent": %d, "good": %d, "behind_ms": %.1f, "p50_ms": %.2f, "p99_ms": %.2f, "statuses": {%s}}\n',
        thread:get("sent"), thread:get("good"), thread:get("behind_ms"), percentile(0.50), percentile(0.99),
        table.concat(answered, ", ")))
end
