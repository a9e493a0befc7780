{
# node.sh
alone
# machines e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
members worker gpu-1 gpu-2
healthy_server server-1
healthy_server server-2
healthy_server server-3
exit
} </dev/null
