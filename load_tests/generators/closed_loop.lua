-- wrk's part: posts the bodies in a folder in turn, then prints what came of it as one line of JSON.
-- wrk -s closed_loop.lua URL -- FOLDER COUNT CONTENT-TYPE

dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "posting.lua")

function done(summary, latency, _)
    io.write("{", figures(summary, latency), "}\n")
end
