/**
 * Judges what a canary sent and received: everything confirmed has to arrive once and in order.
 */

/** Something that was sent. */
export interface Sent {
  readonly n: number
  /** When, in milliseconds of a monotonic clock. */
  readonly at: number
  /** Whether its sender was told that it was accepted, or that it was not, or was told nothing. */
  readonly outcome: "confirmed" | "refused" | "unknown"
}

/** Something that arrived. */
export interface Received {
  readonly n: number
  readonly at: number
  /** How often it was delivered, this time included. */
  readonly attempt?: number
}

/** What is wrong, and the longest time in milliseconds from sending to receiving. */
export interface Verdict {
  readonly faults: ReadonlyArray<string>
  readonly worst: number
}

/** Judges the messages of one kind. */
export const check = (
  kind: string,
  sent: ReadonlyArray<Sent>,
  received: ReadonlyArray<Received>
): Verdict => {
  const faults: Array<string> = []
  const sentAt = new Map(sent.map(({ at, n }) => [n, at]))
  const seen = new Set<number>()
  let highest = -1
  let worst = 0
  for (const { at, attempt = 1, n } of received) {
    const from = sentAt.get(n)
    if (from === undefined) faults.push(`${kind} ${n} was received and never sent`)
    else if (seen.has(n)) {
      if (attempt === 1) faults.push(`${kind} ${n} was received twice`)
    } else {
      if (n < highest) faults.push(`${kind} ${n} was received after ${highest}`)
      worst = Math.max(worst, at - from)
    }
    seen.add(n)
    highest = Math.max(highest, n)
  }
  const of = (outcome: Sent["outcome"]) => sent.filter((one) => one.outcome === outcome)
  const lost = of("confirmed").filter(({ n }) => !seen.has(n))
  const count = (ones: ReadonlyArray<Sent>, what: string) => {
    if (ones.length > 0) faults.push(`${ones.length} of ${sent.length} ${kind}s ${what}, the first is ${ones[0]!.n}`)
  }
  count(lost, "were lost")
  count(of("refused"), "were refused")
  count(of("unknown"), "had no answer")
  if (sent.length === 0) faults.push(`no ${kind} was sent`)
  return { faults, worst }
}
