/**
 * What an application can see of its Clients and Workers, as Effect's metrics. None of them holds a name that users chose.
 *
 * @since 0.1.0
 */

import * as Metric from "effect/Metric"
import * as MetricFamily from "../protocol/MetricFamily.ts"

type Attributes = Readonly<Record<string, string>>

const counterWith = (name: string, description: string) => (attributes?: Attributes) =>
  Metric.counter(name, { description, incremental: true, attributes })

const counter = (name: string, description: string) => counterWith(name, description)()

const requestsWith = counterWith("kosmonaut_client_requests_total", "Requests that ended, by command and outcome")

/**
 * Requests of Clients, by `command` and `outcome` (`ok`, `interrupted`, `defect`, or the error's tag). The commands are
 * `openChannel`, `closeChannel`, `broadcast`, `requestSingleAccessToken`, `broadcastAll`, `sendTo`, `sendToUser`, `channels`,
 * `channel`, `subscribers`, `subscribe`, `unsubscribe`, `disconnect`, `request`, `trigger`, `deadLetters.list`, `deadLetters.replay`, `deadLetters.replayAll`,
 * `deadLetters.discard` and `deadLetters.discardAll`: the names of the Client's methods. Requests that fail before anything
 * is sent, as for data that have no JSON, are not counted.
 *
 * @since 0.1.0
 */
export const requests = requestsWith()

/**
 * The series of `requests`, made once.
 *
 * @internal
 */
export const requestsBy = MetricFamily.make(requestsWith, "command", "outcome")

const requestSecondsWith = (attributes?: Attributes) =>
  Metric.histogram("kosmonaut_client_request_seconds", {
    description: "How long requests took, in seconds, by command",
    boundaries: Metric.exponentialBoundaries({ start: 0.000_25, factor: 2, count: 16 }),
    attributes
  })

/**
 * How long requests took, in seconds, by `command`.
 *
 * @since 0.1.0
 */
export const requestSeconds = requestSecondsWith()

/**
 * The series of `requestSeconds`, made once.
 *
 * @internal
 */
export const requestSecondsBy = MetricFamily.make(requestSecondsWith, "command")

const requestRetriesWith = counterWith("kosmonaut_client_retries_total", "Requests that were sent again, by command")

/**
 * Requests that Clients retried, by `command`; see the option `retry`.
 *
 * @since 0.1.0
 */
export const requestRetries = requestRetriesWith()

/**
 * The series of `requestRetries`, made once.
 *
 * @internal
 */
export const requestRetriesBy = MetricFamily.make(requestRetriesWith, "command")

const eventsWith = counterWith("kosmonaut_worker_events_total", "Events whose handler ended, by outcome")

/**
 * Events that a Worker's handler has ended with, by `outcome` (`handled`, `failed`, `interrupted`).
 *
 * @since 0.1.0
 */
export const events = eventsWith()

/**
 * The series of `events`, made once.
 *
 * @internal
 */
export const eventsBy = MetricFamily.make(eventsWith, "outcome")

/**
 * Retries of handlers that failed; see `retry` of `Worker.Handlers`.
 *
 * @since 0.1.0
 */
export const retries = counter("kosmonaut_worker_retries_total", "Runs of a handler after one that failed")

/**
 * How long handlers took, in seconds.
 *
 * @since 0.1.0
 */
export const eventSeconds = Metric.histogram("kosmonaut_worker_event_seconds", {
  description: "How long handlers took, in seconds",
  boundaries: Metric.exponentialBoundaries({ start: 0.000_25, factor: 2, count: 20 })
})

/**
 * What arrived and was no event, and errors that the broker reported.
 *
 * @since 0.1.0
 */
export const protocolErrors = counter("kosmonaut_worker_protocol_errors_total", "Protocol errors that Workers met")

/**
 * Connections that Workers made after one was lost.
 *
 * @since 0.1.0
 */
export const reconnects = counter("kosmonaut_worker_reconnects_total", "Connections that Workers made again")

/**
 * Events that Workers have received and not begun to handle, by the `address` and the `vhost` of their broker. Read when
 * somebody looks.
 *
 * @since 0.1.0
 */
export const inboxEvents = Metric.gauge("kosmonaut_worker_inbox_events", {
  description: "Events that are received and not yet being handled"
})
