/** Whose a socket is; nothing of the client's handshake reaches its object. */
export const TENANT = 'x-turnstone-tenant';

/** The handshake's answer, from an object of the socket's own. */
export async function openSocket(namespace: DurableObjectNamespace, tenant: string): Promise<Response> {
  const headers = { upgrade: 'websocket', [TENANT]: tenant };
  const { webSocket } = await namespace.get(namespace.newUniqueId()).fetch('https://socket/', { headers });
  return new Response(null, { status: 101, webSocket }); // with headers that may be added to
}
