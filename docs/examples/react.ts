/**
 * Hooks for React, over the connection of `script.ts`.
 */
import { useEffect, useState, useSyncExternalStore } from "react"
import { connection, room } from "./script.ts"

export const useConnectionState = () => useSyncExternalStore(connection.onState, () => connection.state)

export const useMembers = () => useSyncExternalStore(room.onMembers, () => room.members)

export const useLines = () => {
  const [lines, setLines] = useState<ReadonlyArray<string>>([])
  useEffect(() => room.on("talk/said", ({ text }) => setLines((lines) => [...lines, text])), [])
  return lines
}
