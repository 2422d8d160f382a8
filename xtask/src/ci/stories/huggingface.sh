# docs/use/huggingface.md
hub
export HF_ENDPOINT=http://127.0.0.1:5080
begin 'Listening on' <<< 'tracker'
begin 'get p2p' << 'END'
peer-cli share -i tracker.example --open hf://org/model@main
END
unset HF_ENDPOINT
begin 'Gateway at' << 'END'
peer-cli gateway -i tracker.example --open
END
run << 'END'
HF_ENDPOINT=http://127.0.0.1:8642 hf download org/model
END
same ~/.cache/huggingface/hub/models--org--model/snapshots/*/model.safetensors "$LOGS/model.safetensors"
end
end
end
rm -r ~/.cache gateway

closed
begin 'Gateway at' << 'END'
peer-cli gateway -i tracker.example --ca ca.pem --hf-origin https://huggingface.co
END
run << 'END'
HF_ENDPOINT=http://127.0.0.1:8642 hf download org/model
END
same ~/.cache/huggingface/hub/models--org--model/snapshots/*/model.safetensors "$LOGS/model.safetensors"
