-- What scripts of a closed loop share: post the bodies in a folder in turn, and say what came of it.
-- They are given FOLDER COUNT CONTENT-TYPE.

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

-- Members of a JSON object, without its braces.
function figures(summary, latency)
    local errors = summary.errors
    local failures = errors.connect + errors.read + errors.write + errors.timeout + errors.status
    return string.format('"requests": %d, "seconds": %.6f, "failures": %d, "p50_ms": %.3f, "p99_ms": %.3f',
        summary.requests, summary.duration / 1e6, failures, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3)
end
