-- What wrk found, as one line of JSON on standard error, where wrk itself writes nothing.
done = function(summary, latency, requests)
   local errors = summary.errors
   io.stderr:write(string.format(
      '{"requests": %d, "microseconds": %d, "failed": %d, "p50": %.3f, "p95": %.3f, "p99": %.3f}',
      summary.requests, summary.duration,
      errors.connect + errors.read + errors.write + errors.status + errors.timeout,
      latency:percentile(50) / 1000, latency:percentile(95) / 1000, latency:percentile(99) / 1000))
end
