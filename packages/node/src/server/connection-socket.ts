/** What a connection needs of a WebSocket. A CorkedSocket is one; a simulator has another. */
export interface ConnectionSocket {
  binaryType: 'nodebuffer' | 'arraybuffer' | 'fragments';
  readonly readyState: number;
  /** Bytes handed over and not yet taken by the network. */
  readonly bufferedAmount: number;
  /** The last frame to send when the peer's frame is over the limit. */
  oversizeNotice: (() => Uint8Array) | undefined;
  on(event: 'message', listener: (data: Buffer, isBinary: boolean) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'close', listener: () => void): unknown;
  sendFrame(frame: Uint8Array): void;
  pause(): void;
  resume(): void;
  close(code?: number, reason?: string): void;
  terminate(): void;
}

/** The byte stream under the socket: seen only to count what a stranger sends. */
export interface RawSocket {
  on(event: 'data', listener: (chunk: Buffer) => void): unknown;
}
