/**
 * The requests of a Client about users and their browsers.
 */

import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Channel from "../../events/Channel.ts"
import { FromClient } from "../../protocol/Command.ts"
import { BadRequestError, ProtocolError } from "../../protocol/KosmonautError.ts"
import type { ChannelLike } from "../ClientRequest.ts"
import { nameOf } from "./channels.ts"
import type { Requests } from "./request.ts"

/** `Client.requestSingleAccessToken` and `Client.disconnect`. */
export const make = ({ responseTo, query }: Requests) => ({
  requestSingleAccessToken: Effect.fnUntraced(function*(
    who: string | { readonly uid: string; readonly channels: ReadonlyArray<ChannelLike> },
    pattern: string = ""
  ) {
    const [uid, wanted] = typeof who === "string"
      ? [who, pattern]
      : [who.uid, who.channels.map((channel) => Channel.quote(nameOf(channel))).join("|") || nothing]
    if (uid === "" || wanted === "") {
      const detail = `the ${uid === "" ? "user id" : "pattern"} is empty`
      return yield* new ProtocolError({ reason: new BadRequestError({ detail }) })
    }
    const { token } = yield* responseTo(FromClient.AccessToken({ uid, pattern: wanted }), "AccessTokenIssued")
    return Redacted.make(token)
  }),

  disconnect: (by: { readonly sid: string } | { readonly uid: string }) => {
    const command = "sid" in by ? { by: "sid", who: by.sid } as const : { by: "uid", who: by.uid } as const
    return command.who === ""
      ? Effect.succeed(0)
      : Effect.map(query(FromClient.Disconnect(command)), ({ disconnected }) => disconnected)
  }
})

// A pattern that matches no channel.
const nothing = "$a"
