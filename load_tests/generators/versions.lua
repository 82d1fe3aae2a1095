-- wrk's part: posts the bodies in a folder in turn, and counts answers by the version that gave them and by status.
-- wrk -t1 -s versions.lua URL -- FOLDER COUNT CONTENT-TYPE

dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "posting.lua")

local threads = {}

versions = {}
statuses = {}

function setup(thread)
    table.insert(threads, thread)
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
    io.write("{", figures(summary, latency), string.format(', "max_ms": %.3f, "versions": %s, "statuses": %s}\n',
        latency.max / 1e3, counts("versions"), counts("statuses")))
end
