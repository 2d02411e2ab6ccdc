/**
 * Listening with typed refusals, and the rule that nothing listens beyond loopback unprotected.
 */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { assert, HoldfastError } from '@holdfast/base';
import { type Endpoint, formatEndpoint, isLoopbackHost } from '../config/endpoint.ts';

/**
 * @throws HoldfastError BIND_REFUSED unless `endpoint` is loopback, guarded or explicitly allowed
 */
export function checkBind(
  endpoint: Endpoint,
  guard: { readonly hasApiKey: boolean; readonly allowRemote: boolean },
): void {
  if (isLoopbackHost(endpoint.host) || guard.hasApiKey || guard.allowRemote) return;
  throw new HoldfastError(
    'BIND_REFUSED',
    `refusing to listen on ${formatEndpoint(endpoint)} without an API key: ` +
      'pass --api-key-file FILE, or --allow-remote if the network itself is trusted',
    { details: { address: formatEndpoint(endpoint) } },
  );
}

/** Resolves with the bound endpoint. @throws HoldfastError ADDRESS_IN_USE, CONFIG_INVALID */
export function listen(server: Server, endpoint: Endpoint): Promise<Endpoint> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => reject(typed(error, endpoint));
    server.once('error', onError);
    server.listen(endpoint.port, endpoint.host, () => {
      server.off('error', onError);
      const address = server.address();
      assert(isAddressInfo(address), 'a listening server has an address');
      resolve({ host: endpoint.host, port: address.port });
    });
  });
}

const isAddressInfo = (address: AddressInfo | string | null): address is AddressInfo =>
  typeof address === 'object' && address !== null;

function typed(error: NodeJS.ErrnoException, endpoint: Endpoint): HoldfastError {
  const address = formatEndpoint(endpoint);
  const options = { cause: error, details: { address, errno: error.code ?? '' } };
  if (error.code === 'EADDRINUSE') {
    const message = `${address} is in use by another process: stop it or choose another port`;
    return new HoldfastError('ADDRESS_IN_USE', message, options);
  }
  const message = `cannot listen on ${address}: ${error.message}; choose another address`;
  return new HoldfastError('CONFIG_INVALID', message, options);
}
