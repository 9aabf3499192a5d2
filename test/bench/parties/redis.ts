/**
 * The peer: ioredis, which writes what is asked at the same moment together, and its PUBLISH to nobody.
 */
import * as Pace from "../harness/pace.ts"
import { type IoRedis, load } from "../harness/peers.ts"
import * as Role from "../harness/role.ts"

const data = JSON.stringify({ hello: { what: "world", channel: "room" } })
const redis = new (load<IoRedis>("ioredis").Redis)({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  enableAutoPipelining: true
})

const functions = {
  /** So many requests in flight, for so long. */
  request: (width: number, milliseconds: number) => Pace.request(width, milliseconds, () => redis.publish("room", data))
}

export type Functions = typeof functions
Role.serve(functions)
