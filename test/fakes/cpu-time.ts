/** What a test may take, by what its thread worked: on a busy machine the clock says little. */

/**
 * Starts to count; the result is milliseconds of CPU of this thread since then, user and system. V8's helpers
 * compile and collect garbage on threads of their own, more of it the slower the machine is.
 */
export function cpuStopwatch(): () => number {
  const before = process.threadCpuUsage()
  return () => {
    const { user, system } = process.threadCpuUsage(before)
    return (user + system) / 1000
  }
}
