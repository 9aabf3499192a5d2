/**
 * What it costs that a process takes its time: `node test/bench/floors/turns.ts` sends bytes from a caller through a broker to a worker and
 * back, as a request of a browser does, and each of the three is busy for so long before it writes.
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import * as Net from "node:net"
import { setTimeout as pause } from "node:timers/promises"
import { spreadOf } from "../harness/Bench.ts"

const message = Buffer.alloc(120, "x")
const [role, microseconds = "0", port = "0"] = process.argv.slice(2)
let [writes, written] = [0, 0]

const writeTo = (socket: Net.Socket): void => {
  const until = performance.now() + Number(microseconds) / 1000
  while (performance.now() < until);
  const started = performance.now()
  socket.write(message)
  written += performance.now() - started
  writes++
}

/** Passes on what comes from one connection to the other. */
const broker = () => {
  const sockets: Array<Net.Socket> = []
  const server = Net.createServer({ noDelay: true }, (socket) => {
    sockets.push(socket.on("error", () => undefined))
    socket.on("data", () => writeTo(sockets.find((other) => other !== socket)!))
  })
  server.listen(0, "127.0.0.1", () => process.send!((server.address() as Net.AddressInfo).port))
}

const connect = async (to: number): Promise<Net.Socket> => {
  const socket = Net.connect({ port: to, host: "127.0.0.1", noDelay: true }).on("error", () => undefined)
  await once(socket, "connect")
  return socket
}

/** Starts this program in another role; `argument` is the port of the broker. */
const start = async (as: string, turn: number, argument = 0) => {
  const child = fork(import.meta.filename, [as, `${turn}`, `${argument}`])
  const [first] = await once(child, "message")
  const ask = async (): Promise<{ readonly writes: number; readonly written: number }> => {
    const answer = once(child, "message")
    child.send("usage")
    return (await answer)[0]
  }
  return { child, first: Number(first), ask }
}

const measure = async (turn: number) => {
  const between = await start("broker", turn)
  const worker = await start("worker", turn, between.first)
  const caller = await start("caller", turn, between.first)
  await pause(500)
  const [before, started] = [await caller.ask(), performance.now()]
  const [passed] = [await between.ask()]
  await pause(1000)
  const [after, seconds] = [await caller.ask(), (performance.now() - started) / 1000]
  const now = await between.ask()
  for (const { child } of [caller, worker, between]) child.kill()
  return {
    requests: (after.writes - before.writes) / seconds,
    write: (now.written - passed.written) / (now.writes - passed.writes) * 1000
  }
}

if (role === undefined) {
  for (const turn of [0, 20, 40, 60, 80, 100, 120, 160, 200]) {
    const samples: Array<Awaited<ReturnType<typeof measure>>> = []
    for (let round = 0; round < 5; round++) samples.push(await measure(turn))
    const [requests, write] = [spreadOf(samples.map((s) => s.requests)), spreadOf(samples.map((s) => s.write))]
    console.log(
      `turns of ${turn} µs: ${requests.median.toFixed(0)} requests/s; a write of the broker takes ` +
        `${write.median.toFixed(0)} (${write.min.toFixed(0)}–${write.max.toFixed(0)}) µs`
    )
  }
} else {
  process.on("message", () => process.send!({ writes, written }))
  process.on("disconnect", () => process.exit(0))
  if (role === "broker") broker()
  else {
    const socket = await connect(Number(port))
    socket.on("data", () => writeTo(socket))
    if (role === "caller") writeTo(socket)
    process.send!(0)
  }
}
