import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Net from "node:net"
import * as Outbox from "../../../../../src/server/endpoint/internal/browser/outbox.ts"
import * as EventLoop from "../../../../../src/transport/EventLoop.ts"
import { eventually, turn } from "../../../../harness/eventually.ts"
import { withStoppedClock } from "../../../../harness/stoppedClock.ts"

const unlimited = { outboxSize: Infinity, totalOutboxSize: Infinity }

/** A connection: the broker's end, and what the other end has read. */
const connection = Effect.gen(function*() {
  const accepted = yield* Effect.acquireRelease(
    Effect.callback<{ readonly server: Net.Server; readonly socket: Net.Socket; readonly peer: Net.Socket }>(
      (resume) => {
        const server = Net.createServer((socket) => resume(Effect.succeed({ server, socket, peer })))
        let peer: Net.Socket
        server.listen(0, "127.0.0.1", () => {
          peer = Net.connect((server.address() as Net.AddressInfo).port, "127.0.0.1")
        })
      }
    ),
    ({ peer, server, socket }) =>
      Effect.sync(() => {
        socket.destroy()
        peer.destroy()
        server.close()
      })
  )
  const read: Array<Buffer> = []
  accepted.peer.on("data", (chunk) => read.push(chunk))
  for (const end of [accepted.peer, accepted.socket]) end.on("error", () => {})
  return {
    socket: accepted.socket,
    peer: accepted.peer,
    texts: Effect.sync(() => textsOf(Buffer.concat(read)))
  }
})

/** The texts of unmasked frames that are there as a whole. */
const textsOf = (bytes: Buffer): ReadonlyArray<string> => {
  const texts: Array<string> = []
  for (let at = 0; at < bytes.length;) {
    const short = bytes[at + 1]!
    const header = short < 126 ? 2 : short === 126 ? 4 : 10
    const length = header === 2
      ? short
      : header === 4
      ? bytes.readUInt16BE(at + 2)
      : Number(bytes.readBigUInt64BE(at + 2))
    if (at + header + length > bytes.length) break
    texts.push(bytes.toString("utf8", at + header, at + header + length))
    at += header + length
  }
  return texts
}

/** Counts what is written to a socket. */
const countWrites = (socket: Net.Socket) => {
  const written: Array<Uint8Array> = []
  const write = socket.write.bind(socket) as (...args: ReadonlyArray<unknown>) => boolean
  Object.assign(socket, {
    write: (bytes: Uint8Array, ...rest: ReadonlyArray<unknown>) => {
      written.push(bytes)
      return write(bytes, ...rest)
    }
  })
  return written
}

/** Keeps the event loop busy for so many milliseconds. */
const work = (millis: number): void => {
  const end = performance.now() + millis
  while (performance.now() < end);
}

/** Sends until the system takes no more. */
const block = (outbox: Outbox.Outbox) =>
  Effect.gen(function*() {
    while (!outbox.isBlocked) {
      for (let n = 0; n < 10; n++) Outbox.send(outbox, "x".repeat(100_000))
      yield* turn
    }
  })

describe("outboxes", () => {
  it.live("sends many messages to many browsers in frames that they share, in order with others", () =>
    Effect.gen(function*() {
      const outboxes = Outbox.make(unlimited)
      const ends = [yield* connection, yield* connection]
      const writes = ends.map(({ socket }) => countWrites(socket))
      const missed = Array.from({ length: 2000 }, (_, n) => `{"said":{"n":${n},"text":"${"ü".repeat(40)}"}}`)
      for (const { socket } of ends) {
        const outbox = Outbox.open(outboxes, socket, () => assert.fail("slow"))
        Outbox.send(outbox, "before")
        Outbox.sendAll(outbox, missed)
        Outbox.send(outbox, "after")
        Outbox.sendAll(outbox, [])
      }
      const expected = ["before", ...missed, "after"]
      for (const { texts } of ends) {
        assert.deepStrictEqual(yield* eventually(texts, ({ length }) => length >= expected.length), expected)
      }
      const shared = writes[0]!.filter((bytes) => writes[1]!.includes(bytes))
      assert.isAtLeast(shared.reduce((sum, { length }) => sum + length, 0), 100_000)
      for (const bytes of writes.flat()) assert.isAtMost(bytes.length, 65_536)
    }).pipe(Effect.scoped))

  it.live("writes a message at once that comes alone, and those of a turn together", () =>
    Effect.gen(function*() {
      const outboxes = Outbox.make(unlimited)
      const { socket } = yield* connection
      const writes = countWrites(socket)
      const outbox = Outbox.open(outboxes, socket, () => assert.fail("slow"))
      /** How many writes there are once these are sent, and in the next turn. */
      const sent = (...texts: ReadonlyArray<string>) =>
        Effect.gen(function*() {
          EventLoop.begin()
          for (const text of texts) Outbox.send(outbox, text)
          const atOnce = writes.length
          yield* turn
          return [atOnce, writes.length]
        })
      assert.deepEqual(yield* sent("a"), [0, 1])
      assert.deepEqual(yield* sent("b"), [2, 2])
      assert.deepEqual(yield* sent("c", "d", "e"), [3, 4])
      assert.deepEqual(yield* sent("f"), [4, 5])
      assert.deepEqual(textsOf(Buffer.concat(writes)), ["a", "b", "c", "d", "e", "f"])
    }).pipe(Effect.scoped))

  it.live("measures how long it takes until what was sent is written, one thing at a time", () =>
    Effect.gen(function*() {
      const added: Array<number> = []
      const lag = { addUnsafe: (millis: number) => added.push(millis) }
      const { peer, socket, texts } = yield* connection
      const outbox = Outbox.open(Outbox.make(unlimited), socket, () => assert.fail("slow"))
      Outbox.send(outbox, "a")
      Outbox.measure(outbox, lag, performance.now() - 1000)
      Outbox.measure(outbox, lag, performance.now())
      assert.deepEqual(added, [])
      yield* eventually(texts, ({ length }) => length === 1)
      assert.deepEqual(added.map((millis) => millis >= 1000), [true])
      // It was written before it is measured.
      Outbox.measure(outbox, lag, performance.now())
      assert.strictEqual(added.length, 2)
      peer.pause()
      yield* block(outbox)
      Outbox.send(outbox, "b")
      Outbox.measure(outbox, lag, performance.now())
      yield* turn
      assert.strictEqual(added.length, 2)
      peer.resume()
      yield* eventually(Effect.sync(() => added.length), (length) => length === 3)
      assert.isFalse(outbox.isBlocked)
      Outbox.send(outbox, "c")
      Outbox.close(outbox)
      Outbox.measure(outbox, lag, performance.now())
      assert.strictEqual(added.length, 3)
    }).pipe(Effect.scoped))

  it.live("writes all messages of a turn once, in order, and the same bytes to all", () =>
    Effect.gen(function*() {
      const outboxes = Outbox.make(unlimited)
      const ends = [yield* connection, yield* connection, yield* connection]
      const written = ends.map(({ socket }) => countWrites(socket))
      const boxes = ends.map(({ socket }) => Outbox.open(outboxes, socket, () => assert.fail("slow")))
      const texts = Array.from({ length: 200 }, (_, n) => `message ${n} zażółć`)
      for (const text of texts) for (const box of boxes) Outbox.send(box, text)
      for (const { texts: read } of ends) {
        assert.deepStrictEqual(yield* eventually(read, ({ length }) => length === 200), texts)
      }
      assert.deepStrictEqual(written.map(({ length }) => length), [1, 1, 1])
      assert.strictEqual(written[0]![0], written[1]![0])
      assert.strictEqual(written[0]![0], written[2]![0])
    }))

  it.live("writes before the end of a turn if there is more than one write", () =>
    Effect.gen(function*() {
      const outboxes = Outbox.make(unlimited)
      const { socket, texts } = yield* connection
      const written = countWrites(socket)
      const outbox = Outbox.open(outboxes, socket, () => assert.fail("slow"))
      yield* withStoppedClock(() =>
        Effect.map(EventLoop.next, () => {
          for (let n = 0; n < 100; n++) Outbox.send(outbox, "x".repeat(2000))
          assert.isAtLeast(written.length, 2)
          assert.isAtMost(outbox.size, 70_000)
        })
      )
      yield* eventually(texts, ({ length }) => length === 100)
    }))

  it.live("writes nothing more in a turn that is over, and ends the turns of others until all is written", () =>
    Effect.gen(function*() {
      const outboxes = Outbox.make(unlimited)
      const ends = [yield* connection, yield* connection, yield* connection]
      const written = ends.map(({ socket }) => countWrites(socket))
      const boxes = ends.map(({ socket }) => Outbox.open(outboxes, socket, () => assert.fail("slow")))
      yield* EventLoop.next
      EventLoop.begin()
      work(9)
      for (const box of boxes) Outbox.send(box, "x".repeat(100_000))
      assert.deepStrictEqual(written, [[], [], []])
      assert.isTrue(EventLoop.isOver())
      // One turn is enough for none of them.
      for (const { socket } of ends) {
        const write = socket.write.bind(socket)
        Object.assign(socket, {
          write: (bytes: Uint8Array) => {
            work(9)
            return write(bytes)
          }
        })
      }
      yield* EventLoop.next
      assert.deepStrictEqual(boxes.map(({ size }) => size), [0, 0, 0])
      for (const { texts } of ends) yield* eventually(texts, ({ length }) => length === 1)
    }))

  it.live("writes messages of senders without turns at once if there are many", () =>
    Effect.gen(function*() {
      const outboxes = Outbox.make(unlimited)
      const { socket, texts } = yield* connection
      const outbox = Outbox.open(outboxes, socket, () => assert.fail("slow"))
      let most = 0
      EventLoop.begin()
      work(9)
      for (let n = 0; n < 3000; n++) {
        Outbox.send(outbox, "x".repeat(2000))
        if (!outbox.isBlocked) most = Math.max(most, outbox.size)
      }
      assert.isAtLeast(most, 1_000_000)
      assert.isAtMost(most, 1_100_000)
      yield* eventually(texts, ({ length }) => length === 3000)
    }))

  it.live("sends messages of any size to a browser with an empty queue", () =>
    Effect.gen(function*() {
      const outboxes = Outbox.make({ outboxSize: 1000, totalOutboxSize: Infinity })
      const { socket, texts } = yield* connection
      const outbox = Outbox.open(outboxes, socket, () => assert.fail("slow"))
      const large = "x".repeat(8_000_000)
      Outbox.send(outbox, large)
      Outbox.send(outbox, `${large}2`)
      assert.deepStrictEqual(
        (yield* eventually(texts, ({ length }) => length === 2)).map(({ length }) => length),
        [8_000_000, 8_000_001]
      )
      assert.strictEqual(outboxes.queued, 0)
    }))

  it.live("reports a slow browser as soon as its queue exceeds the limit, each message with its overhead", () =>
    Effect.gen(function*() {
      const limit = 3_000_000
      const outboxes = Outbox.make({ outboxSize: limit, totalOutboxSize: Infinity })
      const { peer, socket } = yield* connection
      let isSlow = false
      const outbox = Outbox.open(outboxes, socket, () => {
        isSlow = true
      })
      peer.pause()
      yield* block(outbox)
      assert.isFalse(isSlow)
      const text = "x".repeat(20_000)
      while (!isSlow) Outbox.send(outbox, text)
      assert.isAtLeast(outbox.size, limit * 0.9)
      assert.isAtMost(outbox.size, limit + 2 * text.length)
    }))

  it.live("keeps the order of queued messages, whatever their size, and counts none that was read", () =>
    Effect.gen(function*() {
      const outboxes = Outbox.make(unlimited)
      const { peer, socket, texts } = yield* connection
      const outbox = Outbox.open(outboxes, socket, () => assert.fail("slow"))
      peer.pause()
      yield* block(outbox)
      const expected = Array.from({ length: 2000 }, (_, n) => `${n} ${"x".repeat(n % 7 === 0 ? 3000 : n % 50)}`)
      for (const [n, text] of expected.entries()) {
        Outbox.send(outbox, text)
        if (n % 100 === 0) yield* turn
      }
      assert.isAbove(outboxes.queued, 0)
      peer.resume()
      const read = yield* eventually(texts, (read) => read.at(-1) === expected.at(-1))
      assert.deepStrictEqual(read.slice(-2000), expected)
      yield* eventually(Effect.sync(() => outboxes.queued), (bytes) => bytes === 0)
    }))

  it.live("counts queued messages with their overhead, and joins small ones", () =>
    Effect.gen(function*() {
      let slow = 0
      const outboxSize = 3_000_000
      const outboxes = Outbox.make({ outboxSize, totalOutboxSize: Infinity })
      const { peer, socket } = yield* connection
      const outbox = Outbox.open(outboxes, socket, () => slow++)
      peer.pause()
      yield* block(outbox)
      const room = outboxSize - outbox.size
      let sent = 0
      while (slow === 0) Outbox.send(outbox, `{"n":{"n":${++sent}}}`.padEnd(35))
      // Most of it is messages, and there are few objects.
      assert.isAbove(sent * 37, 0.8 * room)
      assert.isBelow(outbox.frames.length, sent / 64 + 150)
      assert.isBelow(outbox.size + outbox.frames.length * 320, outboxSize + 1000)
    }))

  it.live("keeps no more in memory of what is queued than its bytes", () =>
    Effect.gen(function*() {
      const outboxes = Outbox.make(unlimited)
      const { peer, socket } = yield* connection
      const outbox = Outbox.open(outboxes, socket, () => assert.fail("slow"))
      peer.pause()
      // Those of one turn are joined when they are written, and the others in the queue.
      Outbox.send(outbox, "a".repeat(100))
      yield* block(outbox)
      for (let n = 0; n < 100; n++) Outbox.send(outbox, `${n}`.padEnd(100))
      Outbox.send(outbox, "the last one", "key")
      assert.isAbove(outbox.frames.length, 1)
      for (const { bytes } of outbox.frames) assert.strictEqual(bytes.buffer.byteLength, bytes.length)
    }))

  it.live("replaces what a slow browser was not sent yet by the last message with the same key, in order", () =>
    Effect.gen(function*() {
      const limit = 3_000_000
      const outboxes = Outbox.make({ outboxSize: limit, totalOutboxSize: Infinity })
      const ends = [yield* connection, yield* connection]
      const boxes = ends.map(({ socket }) => Outbox.open(outboxes, socket, () => assert.fail("slow")))
      for (const { peer } of ends) peer.pause()
      for (const box of boxes) yield* block(box)
      // The model: what is in the queue, by keys and without.
      let expected: Array<readonly [text: string, key: string | undefined]> = []
      for (let n = 0; n < 20_000; n++) {
        const key = n % 200 === 7 ? undefined : `room ${n % 3}`
        const text = `${n} ${"x".repeat(n % 5 === 0 ? 1000 : 10)}`
        for (const box of boxes) Outbox.send(box, text, key)
        expected = [...key === undefined ? expected : expected.filter(([, other]) => other !== key), [text, key]]
      }
      for (const box of boxes) assert.isBelow(box.frames.length, 200)
      for (const { peer } of ends) peer.resume()
      for (const { texts } of ends) {
        const read = yield* eventually(texts, (read) => read.at(-1) === expected.at(-1)![0])
        assert.deepStrictEqual(read.slice(-expected.length), expected.map(([text]) => text))
      }
      yield* eventually(Effect.sync(() => outboxes.queued), (bytes) => bytes === 0)
      assert.deepStrictEqual(boxes.map(({ keyed, size }) => [keyed, size]), [[undefined, 0], [undefined, 0]])
      // A browser that reads is sent all.
      for (let n = 0; n < 100; n++) Outbox.send(boxes[0]!, `again ${n}`, "room 0")
      const read = yield* eventually(ends[0]!.texts, (read) => read.at(-1) === "again 99")
      assert.deepStrictEqual(read.slice(-100), Array.from({ length: 100 }, (_, n) => `again ${n}`))
    }))

  it.live("limits the messages with keys, too, and forgets those of a browser that is gone", () =>
    Effect.gen(function*() {
      const outboxes = Outbox.make({ outboxSize: 1_000_000, totalOutboxSize: Infinity })
      const { peer, socket } = yield* connection
      let isSlow = false
      const outbox = Outbox.open(outboxes, socket, () => {
        isSlow = true
      })
      peer.pause()
      yield* block(outbox)
      for (let n = 0; n < 100_000 && !isSlow; n++) Outbox.send(outbox, `${n}`, `key ${n}`)
      assert.isTrue(isSlow)
      Outbox.close(outbox)
      Outbox.release(outbox)
      assert.deepStrictEqual([outboxes.queued, outbox.keyed], [0, undefined])
    }))

  it.live("counts a message that is queued for many browsers once", () =>
    Effect.gen(function*() {
      const outboxes = Outbox.make(unlimited)
      const ends = yield* Effect.replicateEffect(connection, 10)
      const boxes = ends.map(({ socket }) => Outbox.open(outboxes, socket, () => assert.fail("slow")))
      for (const { peer } of ends) peer.pause()
      for (const box of boxes) yield* block(box)
      const before = outboxes.queued
      for (let n = 0; n < 1000; n++) for (const box of boxes) Outbox.send(box, `${n}`.padEnd(1000))
      assert.isBelow(outboxes.queued - before, 1_500_000)
      for (const box of boxes) Outbox.release(box)
      assert.strictEqual(outboxes.queued, 0)
    }))

  it.live("disconnects the browser that was blocked for longest if all queues exceed the limit", () =>
    Effect.gen(function*() {
      const total = 20_000_000
      const outboxes = Outbox.make({ outboxSize: 8_000_000, totalOutboxSize: total })
      const ends = yield* Effect.replicateEffect(connection, 10)
      const slow: Array<number> = []
      const boxes = ends.map(({ socket }, index) =>
        Outbox.open(outboxes, socket, () => {
          slow.push(index)
          Outbox.close(boxes[index]!)
        })
      )
      for (const { peer } of ends) peer.pause()
      for (const box of boxes) yield* block(box)
      for (let n = 0; n < 3000; n++) {
        for (const [index, box] of boxes.entries()) Outbox.send(box, `${index} ${n}`.padEnd(1000))
        assert.isBelow(outboxes.queued, total + 10_000)
      }
      assert.deepStrictEqual(slow, Array.from(slow, (_, index) => index))
      assert.isAtLeast(slow.length, 2)
      assert.isAtMost(slow.length, 6)
    }))

  it.live("continues in the next turn if there is much to write", () =>
    Effect.gen(function*() {
      const outboxes = Outbox.make(unlimited)
      // A connection whose writes take 2 ms.
      let written = 0
      const sink = Object.assign(new Net.Socket(), {
        write: () => {
          const end = performance.now() + 2
          while (performance.now() < end);
          written++
        }
      })
      Object.defineProperties(sink, { writable: { value: true }, writableLength: { value: 0 } })
      for (let n = 0; n < 200; n++) Outbox.send(Outbox.open(outboxes, sink, () => {}), "x")
      // How many are written in each turn.
      const turns = yield* Effect.callback<ReadonlyArray<number>>((resume) => {
        const counts: Array<number> = []
        const tick = () => {
          counts.push(written)
          written = 0
          if (counts.reduce((sum, count) => sum + count, 0) === 200) resume(Effect.succeed(counts))
          else setImmediate(tick)
        }
        setImmediate(tick)
      })
      assert.isAtMost(Math.max(...turns), 8)
    }))
})
