-- wrk's part: posts the bodies in a folder in turn, and counts answers by the version that gave them and by status.
-- wrk -t1 -s versions.lua URL -- FOLDER COUNT CONTENT-TYPE

local requests = {}
local sent = 0
local threads = {}

versions = {}
statuses = {}

function setup(thread)
    table.insert(threads, thread)
end

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

function response(status, headers, _)
    local version = headers["x-model-version"] or "none"
    versions[version] = (versions[version] or 0) + 1
    statuses[status] = (statuses[status] or 0) + 1
end

local function counts(name)
    local parts = {}
    for key, count in pairs(threads[1]:get(name)) do
        table.insert(parts, string.format('"%s": %d', key, count))
    end
    return "{" .. table.concat(parts, ", ") .. "}"
end

function done(summary, latency, _)
    local errors = summary.errors
    local failures = errors.connect + errors.read + errors.write + errors.timeout + errors.status
    io.write(string.format('{"requests": %d, "seconds": %.6f, "failures": %d, "p50_ms": %.3f, "p99_ms": %.3f, ',
        summary.requests, summary.duration / 1e6, failures, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
    io.write(string.format('"max_ms": %.3f, "versions": %s, "statuses": %s}\n',
        latency.max / 1e3, counts("versions"), counts("statuses")))
end
