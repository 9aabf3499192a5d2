/**
 * The metrics of a broker. No attribute has a value that users choose.
 *
 * Most of them are read from the engine on demand and cost nothing otherwise.
 *
 * @since 0.1.0
 */

import * as Metric from "effect/Metric"
import * as MetricFamily from "../protocol/MetricFamily.ts"

const counterWith = (name: string, description: string) => (attributes?: Readonly<Record<string, string>>) =>
  Metric.counter(name, { description, incremental: true, attributes })

const counter = (name: string, description: string) => counterWith(name, description)()

const gauge = (name: string, description: string) => Metric.gauge(name, { description })

/**
 * Browsers that are connected.
 *
 * @since 0.1.0
 */
export const browsers = gauge("kosmonaut_broker_browsers", "Browsers that are connected")

/**
 * Workers that are connected.
 *
 * @since 0.1.0
 */
export const workers = gauge("kosmonaut_broker_workers", "Workers that are connected")

/**
 * Channels that are open.
 *
 * @since 0.1.0
 */
export const channels = gauge("kosmonaut_broker_channels", "Channels that are open")

/**
 * Subscriptions of browsers to channels.
 *
 * @since 0.1.0
 */
export const subscriptions = gauge("kosmonaut_broker_subscriptions", "Subscriptions of browsers to channels")

/**
 * Events that are queued, lifecycle events included.
 *
 * @since 0.1.0
 */
export const queuedEvents = gauge("kosmonaut_broker_queued_events", "Events that are queued")

/**
 * Events that are delivered and not acknowledged.
 *
 * @since 0.1.0
 */
export const unacknowledgedEvents = gauge(
  "kosmonaut_broker_unacknowledged_events",
  "Events that are delivered and not acknowledged"
)

/**
 * Dead letters: events that failed too often.
 *
 * @since 0.1.0
 */
export const deadLetters = gauge("kosmonaut_broker_dead_letters", "Dead letters")

/**
 * Dead letters that were dropped, the oldest first, because there were too many.
 *
 * @since 0.1.0
 */
export const droppedDeadLetters = counter(
  "kosmonaut_broker_dropped_dead_letters_total",
  "Dead letters that were dropped because there were too many"
)

/**
 * Broadcasts that were accepted, of backends and of browsers.
 *
 * @since 0.1.0
 */
export const broadcasts = counter("kosmonaut_broker_broadcasts_total", "Broadcasts that were accepted")

/**
 * Messages of broadcasts that were put into the outbound queues of browsers, one for each subscriber.
 *
 * @since 0.1.0
 */
export const deliveries = counter(
  "kosmonaut_broker_deliveries_total",
  "Messages of broadcasts, one for each subscriber"
)

/**
 * Events for workers, by `outcome`: `accepted` from browsers or the broker itself, `delivered` to a worker's connection,
 * `acknowledged` by workers, `redelivered` if they were requeued after a delivery, `refused` because the queue was full,
 * `dropped` (only lifecycle events) because the queue was full or no worker took them in time.
 *
 * @since 0.1.0
 */
export const events = counter("kosmonaut_broker_events_total", "Events for workers, by outcome")

/**
 * Requests for workers, of browsers and of Clients, by `outcome`: `ok` and `error` (a declared one) if a worker responded,
 * `failed` if its handler did not, `expired`, `cancelled`, `no_worker`, `refused` because the queue was full.
 *
 * @since 0.1.0
 */
export const handledRequests = counter("kosmonaut_broker_handled_requests_total", "Requests for workers, by outcome")

const requestsWith = counterWith("kosmonaut_broker_requests_total", "Requests of Clients, by command and outcome")

/**
 * Requests of Clients, by `command` and `outcome`, which is `ok` or the status code of an error.
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

/**
 * Browsers that were disconnected because they did not read.
 *
 * @since 0.1.0
 */
export const slowBrowsers = counter(
  "kosmonaut_broker_slow_browsers_total",
  "Browsers that were disconnected because they did not read"
)

/**
 * The longest turn of the event loop that the broker spent on backends' messages in the last one to two minutes, in
 * seconds. A turn is ended after 8 milliseconds, so this is that and the longest single message.
 *
 * @since 0.1.0
 */
export const longestTurn = gauge(
  "kosmonaut_broker_longest_turn_seconds",
  "The longest turn of the event loop of the last one to two minutes that backends' messages took"
)

/**
 * The longest delay of the event loop in the last one to two minutes, in seconds: how late a timer was, whatever the
 * process did meanwhile.
 *
 * @since 0.1.0
 */
export const eventLoopDelay = gauge(
  "kosmonaut_broker_event_loop_delay_seconds",
  "The longest delay of the event loop in the last one to two minutes"
)

/**
 * Browsers that were refused when they connected, by `reason`: `origin`, a limit (`browsers`, `vhost_browsers`, `address`,
 * `descriptors`), `vhost` for a path without one, `version` for an unknown version of the protocol.
 *
 * @since 0.1.0
 */
export const refusedBrowsers = counter(
  "kosmonaut_broker_refused_browsers_total",
  "Browsers that were refused when they connected, by reason"
)

/**
 * Messages of browsers that were answered with 429, because a limit was reached: a rate, wrong single access tokens, or
 * subscriptions and their data.
 *
 * @since 0.1.0
 */
export const rejectedMessages = counter(
  "kosmonaut_broker_rejected_messages_total",
  "Messages of browsers that were rejected because a limit was reached"
)

/**
 * Browsers that the broker has disconnected, by `reason`: `silent` if nothing was received since the last ping,
 * `unauthenticated` if they have not authenticated in time, `flood` if they have gone on sending too many messages, bytes, pings or pongs.
 *
 * @since 0.1.0
 */
export const disconnectedBrowsers = counter(
  "kosmonaut_broker_disconnected_browsers_total",
  "Browsers that the broker has disconnected, by reason"
)

/**
 * Browsers that do not read now: the system has not taken what was last written to them, so more is queued.
 *
 * @since 0.1.0
 */
export const blockedBrowsers = gauge("kosmonaut_broker_blocked_browsers", "Browsers that do not read now")

/**
 * The bytes that are queued for browsers that do not read, bytes that they share counted once.
 *
 * @since 0.1.0
 */
export const blockedBytes = gauge(
  "kosmonaut_broker_blocked_bytes",
  "Bytes that are queued for browsers that do not read"
)

/**
 * For how many seconds the oldest event has been queued by this broker that a worker could be given next; 0 if none is queued.
 *
 * @since 0.1.0
 */
export const oldestEvent = gauge(
  "kosmonaut_broker_oldest_event_seconds",
  "For how many seconds the oldest event has been queued"
)

const quickly = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/**
 * How long it took from a broadcast until it was written to the socket of a subscriber, in seconds, by `rule`: the pattern of
 * the channel's rule, `none` for a channel without one, and `other` for patterns beyond the first 100 and those of more than 200
 * characters. Of each broadcast one delivery is measured, each time to another subscriber; none while an earlier one to it is.
 *
 * The buckets end at 0.1, 0.25, 0.5 and 1 milliseconds, and so on in these steps to 10 seconds.
 *
 * @since 0.1.0
 */
export const broadcastLag = (rule: string): Metric.Histogram<number> =>
  Metric.histogram("kosmonaut_broker_broadcast_lag_seconds", {
    description: "Seconds from a broadcast to the socket of a subscriber, by the rule of the channel",
    attributes: { rule },
    boundaries: quickly
  })

/**
 * How long it took from an event's trigger, or the end of its delay, until a worker had acked it, in seconds, by `lane`:
 * `events`, `requests` or `lifecycle`. An event for a worker that does not ack counts when it was sent to it. Events that were
 * restored from storage are not measured. Those of a cluster are at the node of the worker, by the time of Redis, as nodes estimate it.
 *
 * The buckets end at 1, 2.5, 5 and 10 milliseconds, and so on in these steps to 10 seconds; then at 30, 60, 300 and 1800.
 *
 * @since 0.1.0
 */
export const eventLag = (lane: string): Metric.Histogram<number> =>
  Metric.histogram("kosmonaut_broker_event_lag_seconds", {
    description: "Seconds from the trigger of an event to its ack, by lane",
    attributes: { lane },
    boundaries: [...quickly.slice(3), 30, 60, 300, 1800]
  })
