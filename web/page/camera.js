// A photo from the camera. Browsers offer one on https and on this machine only.
import { find, make } from "./elements.js";

const JPEG_QUALITY = 0.92;
const video = find("#viewfinder");
let stream = null;
let wanted = null;

export const isThere = () => Boolean(navigator.mediaDevices?.getUserMedia);

/**
 * Show what the camera sees; resolves to false where it was closed before it opened, since a person is asked first.
 * Throws a DOMException where there is none, or none may be used.
 */
export async function open() {
  const asked = (wanted = {});
  const opened = await navigator.mediaDevices.getUserMedia({
    video: { facingMode: "environment", width: { ideal: 1280 } },
  });
  if (asked !== wanted) {
    stop(opened);
    return false;
  }
  stream = opened;
  video.srcObject = stream;
  video.hidden = false;
  await video.play();
  return true;
}

/** Make a File of what the camera sees now. */
export async function take() {
  const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
  return new File([blob], "camera.jpg", { type: "image/jpeg" });
}

export function close() {
  wanted = null;
  if (stream) stop(stream);
  stream = null;
  video.srcObject = null;
  video.hidden = true;
}

function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}
