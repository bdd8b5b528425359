// Trades the opener token in the address for the access token, and shows how the node is.

const call = async (path, body, token) => {
  const headers = { "Content-Type": "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  return response.json();
};

const opener = new URLSearchParams(location.hash.slice(1)).get("open");
if (opener) {
  history.replaceState(null, "", "/");
  const { token, hint } = await call("/api/open", { opener });
  if (token) sessionStorage.setItem("token", token);
  else document.body.append(hint);
}
const token = sessionStorage.getItem("token");
if (token) {
  const status = await call("/api/v1/status", {}, token);
  document.body.append(status.problems.join("\n") || "All is well.");
}
