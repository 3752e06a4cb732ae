/** What a test may take, by what this process worked: on a busy machine the clock says little. */

/** Starts to count; the result is milliseconds of CPU since then, user and system. */
export function cpuStopwatch(): () => number {
  const before = process.cpuUsage()
  return () => {
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1000
  }
}
