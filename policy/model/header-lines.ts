/** Headers of which several lines are one value, joined with `,`; of all others each line counts by itself (§0.8.17). */
const JOINED = new Set(
  `accept accept-encoding access-control-request-method authorization cache-control content-type
  expect grpc-timeout if-none-match origin pragma referer user-agent via x-client-trace-id
  x-envoy-decorator-operation x-forwarded-for x-forwarded-host x-forwarded-proto x-request-id`.split(
    /\s+/,
  ),
)

/**
 * The values that policy compares, from the lines of one header in order. Lines without a value leave
 * no comma behind.
 *
 * @param name - in lower case
 */
export function headerValues(name: string, lines: readonly string[]): readonly string[] {
  if (lines.length < 2 || !JOINED.has(name)) return lines
  return [lines.filter((line) => line !== '').join(',')]
}
