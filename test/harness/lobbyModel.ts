/**
 * What a lobby should do, written for clarity and not for speed.
 */
import { expect } from "vitest"
import { type Delivered, deliveredTo, lifecycleText, type Sender, type Step } from "./lobbySteps.ts"

interface Session {
  readonly id: string
  readonly connection: number
  lastReceived: number
  lastSent: number
  unsettled: number
  isReady: boolean
  isNew: boolean
  turn: number
  lifecycle: boolean
  prefetch: number | undefined
  maxAttempts: number
  held: Array<Held>
}

/** An unacked delivery. */
interface Held {
  readonly event: Event
}

interface Event {
  /** Its position among all events that were accepted. */
  readonly position: number
  readonly text: string
  readonly isLifecycle: boolean
  attempts: number
  failures: number
  releases: number
  losses: number
}

/** Makes the model of a lobby with these limits; times are in milliseconds. */
export const makeModel = (
  bound: { readonly queueCapacity: number; readonly queueSize: number },
  retention: number,
  backoff: number,
  maxDeliveries: number
) => {
  let log: Array<string> = []
  // In the lobby's time, which a tick moves by one interval at most.
  let now = 0
  let real = 0
  let delayed: Array<{ readonly event: Event; readonly until: number }> = []
  let created = 0
  let attendedUntil: number | undefined
  let events: Array<Event> = []
  let lifecycle: Array<Event> = []
  const counters = { accepted: 0, delivered: 0, refused: 0, dropped: 0, acknowledged: 0, redelivered: 0 }
  let turns: Array<Session> = []
  let lastTurn = 0
  const unsettled: Array<{ readonly event: Event; readonly session: Session; readonly held: Held | undefined }> = []
  const delivered: Array<Delivered> = []
  const acknowledged: Array<string> = []
  const settled: Array<string> = []
  const dead: Array<readonly [text: string, attempts: number, reason: unknown]> = []
  const accepted = new Set<string>()
  const nameOf = (session: Session) => `${session.id}/${session.connection}`

  const bytes = (some: ReadonlyArray<Event>) => some.map(({ text }) => text).join("").length
  const held = () => turns.flatMap(({ held }) => held.map(({ event }) => event))
  const unacked = (isLifecycle: boolean) =>
    [...held(), ...unsettled.filter(({ held }) => held === undefined).map(({ event }) => event)]
      .filter((event) => event.isLifecycle === isLifecycle)
  const waitingForBackoff = (isLifecycle: boolean) =>
    delayed.map(({ event }) => event).filter((event) => event.isLifecycle === isLifecycle)
  const isFull = (isLifecycle: boolean, text: string) => {
    const all = [...isLifecycle ? lifecycle : events, ...waitingForBackoff(isLifecycle), ...unacked(isLifecycle)]
    return all.length >= bound.queueCapacity || bytes(all) + text.length > bound.queueSize
  }
  const hasCreditFor = (isLifecycle: boolean) => {
    const inFlight = unacked(isLifecycle)
    const isRoom = inFlight.length < bound.queueCapacity && bytes(inFlight) < bound.queueSize
    return ({ held, unsettled, isReady, lifecycle, prefetch }: Session) =>
      isReady && (lifecycle || !isLifecycle) &&
      (prefetch === undefined ? unsettled < 64 : held.length < prefetch && (held.length === 0 || isRoom))
  }
  const loadOf = ({ held, prefetch }: Session) => prefetch === undefined ? 0 : held.length
  const requeue = (...some: ReadonlyArray<Event>) => {
    for (const event of some) {
      if (event.isLifecycle) lifecycle = [...lifecycle, event].toSorted((a, b) => a.position - b.position)
      else events = [...events, event].toSorted((a, b) => a.position - b.position)
    }
  }
  const removeHeld = (session: Session | undefined, text: string) => {
    const held = session?.held.find(({ event }) => event.text === text)
    if (held !== undefined) session!.held = session!.held.filter((other) => other !== held)
    return held?.event
  }
  const redeliver = (event: Event, times: number) => {
    counters.redelivered++
    if (times > 0 && backoff > 0) delayed.push({ event, until: real + backoff * 2 ** Math.min(times - 1, 6) })
    else requeue(event)
  }
  const requeueUnacked = (session: Session, isCounted: boolean) => {
    for (const { event } of session.held) {
      if (isCounted && ++event.losses >= maxDeliveries) dead.push([event.text, event.attempts, expect.anything()])
      else redeliver(event, 0)
    }
    session.held = []
  }
  const remove = (leaving: ReadonlyArray<Session>, isCounted = true) => {
    turns = turns.filter((session) => !leaving.includes(session))
    for (const session of leaving) requeueUnacked(session, isCounted)
    dispatch()
  }

  const accept = (text: string, isLifecycle: boolean) => {
    const event = { position: counters.accepted++, text, isLifecycle, attempts: 0, failures: 0, releases: 0, losses: 0 }
    accepted.add(text)
    if (isLifecycle) lifecycle = [...lifecycle, event]
    else events = [...events, event]
    dispatch()
  }
  const dropOldest = () => {
    const [oldest, ...rest] = lifecycle
    lifecycle = rest
    accepted.delete(oldest!.text)
    counters.dropped++
  }
  // Sends the oldest event that a worker takes, to the first in turn of these.
  const dispatch = () => {
    if (turns.some(({ lifecycle }) => lifecycle)) attendedUntil = Infinity
    else if (attendedUntil === Infinity) attendedUntil = now + retention
    for (;;) {
      const heads = [events[0], lifecycle[0]].filter((event) => event !== undefined)
        .toSorted((a, b) => a.position - b.position)
      const workerFor = (event: Event) =>
        turns.filter(hasCreditFor(event.isLifecycle)).toSorted((a, b) => loadOf(a) - loadOf(b) || a.turn - b.turn)[0]
      const event = heads.find((event) => workerFor(event) !== undefined)
      if (event === undefined) return
      const session = workerFor(event)!
      events = events.filter((other) => other !== event)
      lifecycle = lifecycle.filter((other) => other !== event)
      session.turn = ++lastTurn
      session.unsettled++
      const held = session.prefetch === undefined ? undefined : { event }
      unsettled.push({ event, session, held })
      event.attempts++
      if (held === undefined) log.push(`event ${event.text} to ${nameOf(session)}, final`)
      else {
        session.held.push(held)
        delivered.push({ id: session.id, connection: session.connection, text: event.text })
        log.push(`event ${event.text} to ${nameOf(session)}, ${event.attempts}`)
      }
    }
  }
  const sendHeartbeat = (session: Session) => {
    session.lastSent = now
    log.push(`heartbeat to ${nameOf(session)}`)
  }
  const dismiss = (leaving: ReadonlyArray<Session>, isCounted: boolean) => {
    remove(leaving, isCounted)
    for (const session of leaving) log.push(`dismissed ${nameOf(session)}`)
  }
  const sessionOf = ({ connection, id }: Sender) =>
    turns.find((session) => session.id === id && session.connection === connection)
  const ack = (by: Sender, text: string) => {
    const event = removeHeld(sessionOf(by), text)
    if (event === undefined) return
    acknowledged.push(event.text)
    counters.acknowledged++
  }
  const settle = (index: number, delivered: boolean) => {
    const [one] = unsettled.splice(index, 1)
    if (one === undefined) return
    one.session.unsettled--
    if (delivered) counters.delivered++
    if (delivered && one.held === undefined) settled.push(one.event.text)
    if (!delivered) {
      one.session.isReady = false
      if (one.held === undefined) {
        one.event.attempts--
        requeue(one.event)
      } else if (one.session.held.includes(one.held)) {
        one.session.held = one.session.held.filter((other) => other !== one.held)
        one.event.attempts--
        requeue(one.event)
      }
    }
    dispatch()
  }
  const heartbeat = (session: Session) => {
    session.lastReceived = now
    if (!session.isNew || session.prefetch !== undefined) sendHeartbeat(session)
    session.isNew = false
    session.isReady = true
    dispatch()
  }

  const run = (step: Step): void => {
    const session = "id" in step ? turns.find(({ id }) => id === step.id) : undefined
    switch (step.do) {
      case "join": {
        if (session?.connection === step.connection) {
          session.lifecycle = step.lifecycle
          session.prefetch = step.prefetch
          session.maxAttempts = step.maxAttempts
          session.lastReceived = now
          session.isReady ||= !session.isNew || step.prefetch !== undefined
          sendHeartbeat(session)
          return dispatch()
        }
        const fresh = {
          id: step.id,
          connection: step.connection,
          lifecycle: step.lifecycle,
          prefetch: step.prefetch,
          maxAttempts: step.maxAttempts,
          held: [],
          lastReceived: now,
          lastSent: now,
          unsettled: 0,
          isReady: step.prefetch !== undefined,
          isNew: true,
          turn: session === undefined ? ++lastTurn : session.turn
        }
        turns = session === undefined ? [...turns, fresh] : turns.map((other) => other === session ? fresh : other)
        if (session !== undefined) requeueUnacked(session, true)
        sendHeartbeat(fresh)
        return dispatch()
      }
      case "leave":
        if (step.connection !== undefined && session?.connection !== step.connection) return
        if (session !== undefined) remove([session])
        return
      case "heartbeat": {
        const known = session !== undefined && (step.connection ?? session.connection) === session.connection
        if (known) heartbeat(session)
        log.push(`known ${known}`)
        return
      }
      case "enqueue":
        for (let i = 0; i < step.count; i++) {
          const text = String(created++)
          if (!isFull(false, text) || turns.some(hasCreditFor(false))) accept(text, false)
          else {
            counters.refused++
            log.push("refused")
          }
        }
        return
      case "emit":
        for (let i = 0; i < step.count; i++) {
          const text = lifecycleText(created++)
          if (attendedUntil === undefined) continue
          while (lifecycle.length > 0 && isFull(true, text)) dropOldest()
          accept(text, true)
        }
        return
      case "tick":
        now += Math.min(step.after, 500)
        real += step.after
        requeue(...delayed.filter(({ until }) => until <= real).map(({ event }) => event))
        delayed = delayed.filter(({ until }) => until > real)
        dispatch()
        if (attendedUntil !== undefined && now > attendedUntil) attendedUntil = undefined
        while (attendedUntil === undefined && lifecycle.length > 0) dropOldest()
        for (const session of turns) {
          if (now - session.lastReceived > 1500 || now - session.lastSent < 250) continue
          if (!session.isNew || session.prefetch !== undefined) sendHeartbeat(session)
          else {
            session.isNew = false
            session.isReady = true
          }
        }
        dispatch()
        return dismiss(turns.filter((session) => now - session.lastReceived > 1500), true)
      case "settle":
        return settle(step.which, step.delivered)
      case "settleAll":
        while (unsettled.length > 0) settle(0, true)
        return
      case "ack": {
        const all = step.which.flatMap((which) => deliveredTo(delivered, which, step.by) ?? [])
        for (const { text } of all) ack(all[0]!, text)
        return dispatch()
      }
      case "nack": {
        const one = deliveredTo(delivered, step.which, step.by)
        const by = one && sessionOf(one)
        const event = one && removeHeld(by, one.text)
        if (event === undefined) return
        if (step.reason === "") redeliver(event, event.releases++)
        else if (++event.failures >= by!.maxAttempts) dead.push([event.text, event.attempts, step.reason])
        else redeliver(event, event.failures)
        return dispatch()
      }
      case "ackAll":
        for (const one of [...delivered]) {
          ack(one, one.text)
          dispatch()
        }
        return
      case "dismissAll":
        return dismiss(turns, false)
    }
  }

  return {
    run,
    accepted: () => [...accepted].toSorted(),
    acknowledged: () => acknowledged,
    /** What a store should have of the events that are not handled yet, in the order of their creation. */
    recorded: () =>
      [...events, ...delayed.map(({ event }) => event), ...unacked(false)]
        .filter(({ isLifecycle }) => !isLifecycle)
        .toSorted((a, b) => a.position - b.position)
        .map(({ attempts, failures, losses, text }) => ({ json: text, attempts, failures, losses })),
    dead: () => dead,
    locations: () =>
      [
        ...[...events, ...lifecycle, ...delayed.map(({ event }) => event), ...unacked(true), ...unacked(false)]
          .map(({ text }) => text),
        ...settled,
        ...acknowledged,
        ...dead.map(([text]) => text)
      ].toSorted(),
    counters: () => ({
      ...counters,
      unacknowledged: held().length,
      queued: events.length + lifecycle.length + delayed.length,
      workers: turns.length
    }),
    info: () => ({ queued: events.length + waitingForBackoff(false).length, workers: turns.map(({ id }) => id) }),
    takeLog: () => {
      const taken = log
      log = []
      return taken
    }
  }
}
