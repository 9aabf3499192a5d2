/**
 * What a test's own work has cost. On a busy machine time passes without any work, so limits of what code may cost are limits
 * of this.
 */

/** The processor time of this process, in milliseconds. */
export const cpuTime = (): number => {
  const { system, user } = process.cpuUsage()
  return (user + system) / 1000
}
