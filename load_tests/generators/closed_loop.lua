-- wrk's part: posts the bodies in a folder in turn, then prints what came of it as one line of JSON.
-- wrk -s post.lua URL -- FOLDER COUNT CONTENT-TYPE

local requests = {}
local sent = 0

function init(args)
    for number = 0, tonumber(args[2]) - 1 do
        local file = assert(io.open(args[1] .. "/" .. number, "rb"))
        requests[number + 1] = wrk.format("POST", nil, { ["Content-Type"] = args[3] }, file:read("*a"))
        file:close()
    end
end

function request()
    sent = sent % #requests + 1
    return requests[sent]
end

function done(summary, latency, _)
    local errors = summary.errors
    local failures = errors.connect + errors.read + errors.write + errors.timeout + errors.status
    io.write(string.format('{"requests": %d, "seconds": %.6f, "failures": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
        summary.requests, summary.duration / 1e6, failures, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
